using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using static TorchSharp.torch;

namespace XDeepServe.Training.Stages;

/// <summary>One way to learn: which sequences an example has, and what their loss is.</summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public abstract class Stage(PromptWriter writer, TrainingSettings settings)
{
    private readonly Pixels? images = writer.Images is { } input ? new Pixels(input) : null;

    /// <summary>Turns conversations into token ids.</summary>
    protected PromptWriter Writer => writer;

    /// <summary>Of the run.</summary>
    protected TrainingSettings Settings => settings;

    /// <summary>Examples that run together, with their images.</summary>
    /// <param name="examples">At least one, each of as many sequences.</param>
    /// <param name="device">Where the tensors go.</param>
    public Batch Batch(IReadOnlyList<Example> examples, Device device) => new(examples, device, images);

    /// <summary>A sequence of which something behind its last token is learnt.</summary>
    /// <param name="messages">The turns.</param>
    /// <param name="opensAnswer">Whether the assistant's turn is opened at the end.</param>
    protected Sequence Encode(IReadOnlyList<Message> messages, bool opensAnswer) =>
        new(writer.Encode(messages, opensAnswer)) { Images = [.. messages.SelectMany(message => message.Images)] };

    /// <summary>A question that is to be answered: the assistant's turn is opened behind it.</summary>
    public Example Open(IReadOnlyList<Message> prompt) => new([Encode(prompt, opensAnswer: true)]);

    /// <summary>Text of an answer's tokens.</summary>
    public string Text(int[] answer) => writer.Tokenizer.Decode(answer);

    /// <summary>The score head that the network has in place of the output matrix.</summary>
    public virtual ScoreHead Scoring => ScoreHead.None;

    /// <summary>Reads a file's examples.</summary>
    /// <param name="path">A data set.</param>
    /// <param name="counts">Counts what is kept, dropped and cut.</param>
    /// <exception cref="DataException">The file is not in a form that is read.</exception>
    public abstract IEnumerable<Example> Read(string path, DataCounts counts);

    /// <summary>How much an example weighs in a step's mean loss: 1, or its number of learned tokens.</summary>
    public virtual double Weight(Example example) => 1;

    /// <summary>The loss.</summary>
    /// <param name="network">The network.</param>
    /// <param name="hidden">Hidden states behind the final norm, <c>[sequences, length, hidden]</c>.</param>
    /// <param name="batch">What ran.</param>
    public abstract Outcome Loss(Decoder network, Tensor hidden, Batch batch);

    /// <summary>Last word before the first step, with the network as it is then.</summary>
    /// <returns>The examples to train on.</returns>
    public virtual IReadOnlyList<Example> Prepare(Decoder network, IReadOnlyList<Example> examples) => examples;

    /// <summary>Remembers what is to be known, when <see cref="Ask"/> has asked these, of the network as it is before the first step.</summary>
    public virtual void Remember(Decoder network, IEnumerable<Example> asked)
    {
    }

    /// <summary>Examples that ask which answer of a pair is better; those of one pair follow one another. Null if the stage compares nothing.</summary>
    public virtual IReadOnlyList<Example>? Ask(PreferencePair pair) => null;
}
