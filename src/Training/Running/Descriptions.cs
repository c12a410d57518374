using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Scenes;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Running;

/// <summary>Scenes that a model describes: one drawn answer to each question of a file with <c>prompt</c> and a faithful <c>caption</c>, told by what it covers and what it invents.</summary>
public sealed class Descriptions
{
    private const int Longest = 128; // tokens of an answer
    private readonly List<(IReadOnlyList<Message> Prompt, Scene Scene)> questions;

    private Descriptions(List<(IReadOnlyList<Message> Prompt, Scene Scene)> questions) => this.questions = questions;

    /// <summary>Reads a file of scenes.</summary>
    /// <exception cref="DataException">A caption describes no scene.</exception>
    public static Descriptions Read(string path) => new([.. DataFile.Read(path).Select(row => Caption.Read(row.Text("caption")) is { Objects.Count: > 0 } caption
        ? (row.WithImages(row.Messages("prompt"), path), new Scene(caption.Objects, 0))
        : throw row.Wrong("caption", "describes no scene"))]);

    /// <summary>Draws an answer to each question, at a temperature of 1, and reads it.</summary>
    /// <param name="stage">Turns conversations into tokens.</param>
    /// <param name="network">Answers.</param>
    /// <param name="settings">Seed and batch size.</param>
    /// <returns>How each answer does, in the questions' order.</returns>
    public IReadOnlyList<CaptionScore> Draw(Stage stage, Decoder network, TrainingSettings settings)
    {
        Random random = new(settings.Seed);
        CaptionScore[] scores = new CaptionScore[questions.Count];
        (int Question, Example Opened)[] opened = [.. questions.Select((question, index) => (index, stage.Open(question.Prompt)))];
        // Prompts that run together are equally long, so that nothing is padded.
        foreach ((int Question, Example Opened)[] together in opened.GroupBy(one => one.Opened.Length).SelectMany(group => group.Chunk(settings.PerDeviceEvalBatchSize)))
        {
            List<int[]> answers = Draw(stage, network, [.. together.Select(one => one.Opened)], random);
            for (int row = 0; row < together.Length; row++)
                scores[together[row].Question] = Caption.Read(stage.Text(answers[row])).Score(questions[together[row].Question].Scene);
        }
        return scores;
    }

    // Sequences run whole for every token: they are short, and there are many of them.
    private static List<int[]> Draw(Stage stage, Decoder network, IReadOnlyList<Example> opened, Random random)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable unrecorded = no_grad();
        Batch batch = stage.Batch(opened, network.Weights.Device);
        Tensor ids = batch.Ids.narrow(1, 0, opened[0].Length); // a batch may be padded
        List<int>[] answers = [.. opened.Select(_ => new List<int>())];
        bool[] ended = new bool[opened.Count];
        for (int length = 0; length < Longest && ended.Contains(false); length++)
        {
            using DisposeScope inner = NewDisposeScope();
            Tensor hidden = network.Hidden(ids, batch.Pictures);
            Tensor logits = network.Logits(hidden.select(1, hidden.shape[1] - 1)).to(ScalarType.Float32);
            if (network.Config.Images is { } images)
                logits.select(1, images.TokenId).fill_(double.NegativeInfinity); // nothing is shown in an answer
            Tensor below = logits.softmax(-1).cumsum(-1);
            Tensor lots = tensor([.. opened.Select(_ => random.NextSingle())], device: ids.device).unsqueeze(1);
            Tensor next = below.lt(lots).sum(-1, keepdim: true).clamp_max(below.shape[1] - 1);
            long[] drawn = [.. next.cpu().data<long>()];
            for (int row = 0; row < drawn.Length; row++)
            {
                ended[row] |= network.Config.EosIds.Contains((int)drawn[row]);
                if (!ended[row])
                    answers[row].Add((int)drawn[row]);
            }
            ids = cat([ids, next], 1).MoveToOuterDisposeScope();
        }
        return [.. answers.Select(answer => answer.ToArray())];
    }
}
