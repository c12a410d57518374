using System.Text.Json.Nodes;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Ranking;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Models.Images;
using XDeepServe.Server.Http;
using XDeepServe.Server.Requests;

namespace XDeepServe.Server.Responses;

/// <summary><c>best_of</c>: the choices that a reward model likes best.</summary>
internal static class BestAnswers
{
    /// <summary>Refuses conversations whose answers cannot be compared, before any is made.</summary>
    /// <exception cref="ApiException">400.</exception>
    public static void Check(ChatPrompt prompt, ServedModel served)
    {
        if (prompt.Images.Count > 0 && !served.RewardsSeeImages)
        {
            throw ApiException.BadRequest("'best_of' greater than 'n' compares answers by a reward model that takes text only; leave the images out.", "best_of");
        }
        if ((string?)prompt.Messages[^1]!["role"] == "assistant")
        {
            throw ApiException.BadRequest("'best_of' greater than 'n' compares whole answers; the last message must not be the assistant's.", "best_of");
        }
    }

    /// <summary>Compares the choices.</summary>
    /// <param name="rewards">Judges.</param>
    /// <param name="prompt">What they answer.</param>
    /// <param name="answer">All choices.</param>
    /// <param name="count">How many to keep.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>Their indices, the best first.</returns>
    /// <exception cref="ApiException">400 where conversation and answers do not fit the reward model.</exception>
    public static async Task<IReadOnlyList<int>> PickAsync(IRewardModel rewards, ChatPrompt prompt, AnswerCollection answer, int count, CancellationToken cancel)
    {
        Queue<string> sources = new(prompt.Sources);
        Message[] messages = [.. prompt.Messages.Select(message => new Message((string)message!["role"]!, ImageInput.Text(message["content"]!, null))
        {
            Images = message["content"] is JsonArray parts ? [.. parts.Where(part => (string?)part!["type"] == "image").Select(_ => sources.Dequeue())] : [],
        })];
        try
        {
            return await new BestOfN(rewards).PickAsync(messages, [.. answer.Choices.Select(choice => choice.Text)], count, cancel);
        }
        catch (Exception refused) when (refused is InvalidRequestException or ImageException)
        {
            throw ApiException.BadRequest($"The answers cannot be compared: {refused.Message} Ask for shorter answers, or leave 'best_of' out.", "best_of");
        }
    }
}
