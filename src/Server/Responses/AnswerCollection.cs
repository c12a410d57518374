using XDeepServe.FlowServe;

namespace XDeepServe.Server.Responses;

/// <summary>Gathers all choices of all prompts for an answer in one piece.</summary>
internal sealed class AnswerCollection(Job job)
{
    /// <summary>The choices, those of the first prompt first.</summary>
    public ChoiceRecord[] Choices { get; } = [.. Enumerable.Range(0, job.Prompts.Count * job.Choices).Select(_ => new ChoiceRecord())];

    /// <summary>Token counts.</summary>
    public Usage Usage { get; } = new(job.Prompts.Count, job.Choices);

    /// <summary>What is held for whoever goes on with the request; null for nothing.</summary>
    public Generation? Offering { get; private set; }

    /// <summary>Reads every generation to its end; the first failure ends them all.</summary>
    public async Task ReadAsync(List<Generation> generations, CancellationToken aborted, CancellationToken hurry)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(aborted, hurry);
        try
        {
            // One after the other: all of them run meanwhile, and nothing is sent before the last has ended.
            for (int prompt = 0; prompt < generations.Count; prompt++)
            {
                await foreach (OutputDelta delta in generations[prompt].WithCancellation(stop.Token))
                {
                    job.Check(generations[prompt], delta);
                    Usage.Add(prompt, delta);
                    Choices[(prompt * job.Choices) + delta.Choice].Add(delta);
                }
                Offering ??= generations[prompt].Offer is null ? null : generations[prompt];
            }
        }
        finally
        {
            foreach (Generation generation in generations)
            {
                generation.Dispose();
            }
        }
    }

    /// <summary>Writes with what another request goes on, if there is anything.</summary>
    public void WriteTransfer(System.Text.Json.Utf8JsonWriter json)
    {
        if (Offering is { Offer: { } offer } generation)
        {
            Requests.KvTransfer.Write(json, offer, generation.Request);
        }
    }

    /// <summary>The prompt's log-probabilities, which any of its choices may carry.</summary>
    public IReadOnlyList<TokenLogprob?>? PromptLogprobs(int prompt) =>
        Choices.AsSpan(prompt * job.Choices, job.Choices).ToArray().Select(choice => choice.PromptLogprobs).FirstOrDefault(found => found is not null);
}
