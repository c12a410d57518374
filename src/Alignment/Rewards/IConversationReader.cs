using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>What reward models read of a model behind conversations: an engine in this process (<see cref="EngineReader"/>), or a server (<see cref="HttpReader"/>). Any thread.</summary>
public interface IConversationReader
{
    /// <summary>How likely each of some labels is the assistant's next token, among them alone.</summary>
    /// <param name="messages">The conversation; the assistant's turn is opened behind it.</param>
    /// <param name="labels">Texts of one token each.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>A probability for each label; they sum to 1.</returns>
    /// <exception cref="FlowServe.InvalidRequestException">The conversation does not fit the model.</exception>
    /// <exception cref="ArgumentException">A label is not one token.</exception>
    Task<IReadOnlyList<double>> ReadLabelsAsync(IReadOnlyList<Message> messages, IReadOnlyList<string> labels, CancellationToken cancel = default);

    /// <summary>What the model's score head of one value says of a whole conversation, without activation.</summary>
    /// <exception cref="FlowServe.InvalidRequestException">The conversation does not fit the model, or the model has no such head.</exception>
    Task<double> ReadScoreAsync(IReadOnlyList<Message> messages, CancellationToken cancel = default);
}
