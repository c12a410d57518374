using System.Text.Json;
using Microsoft.AspNetCore.Http;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Responses;

/// <summary>Sends an answer as server-sent events, one for every delta of every choice.</summary>
internal abstract class AnswerStream(Job job, ErrorGate errors, CancellationToken hurry)
{
    private readonly Usage _usage = new(job.Prompts.Count, job.Choices);
    private List<Generation> _generations = [];

    /// <summary>Name of a chunk's kind, in its <c>object</c> field.</summary>
    protected abstract ReadOnlySpan<byte> Kind { get; }

    /// <summary>Whether the new tokens are part of the answer.</summary>
    protected virtual bool HasCompletion => true;

    /// <summary>Runs the stream to its end.</summary>
    public async Task RunAsync(HttpContext context, List<Generation> generations)
    {
        _generations = generations;
        // Linked, so that one prompt's failure ends the others.
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, hurry);
        using SemaphoreSlim turn = new(1, 1);
        await using SseWriter events = new(context);
        try
        {
            await events.StartAsync();
            await Task.WhenAll(generations.Select((generation, prompt) => PumpAsync(generation, prompt, events, turn, stop)));
            if (job.Common.IncludeUsage)
            {
                WriteUsage(events);
            }
            await events.DoneAsync();
        }
        catch (Exception failure) when (!context.RequestAborted.IsCancellationRequested)
        {
            // The status is out already; the error travels as an event.
            errors.Describe(context, failure).Write(events.Begin());
            events.End();
            await events.DoneAsync();
        }
        finally
        {
            foreach (Generation generation in generations)
            {
                generation.Dispose();
            }
        }
    }

    /// <summary>Writes the events of one delta.</summary>
    /// <param name="events">Where to; its turn is the caller's.</param>
    /// <param name="prompt">Index of the prompt.</param>
    /// <param name="delta">What is new.</param>
    protected abstract void Write(SseWriter events, int prompt, OutputDelta delta);

    /// <summary>Index of a delta's choice among those of all prompts.</summary>
    protected int IndexOf(int prompt, OutputDelta delta) => (prompt * job.Choices) + delta.Choice;

    /// <summary>Closes a chunk, with the usage so far where it is wanted in every one, and in the last one with what another request goes on.</summary>
    protected void EndChunk(SseWriter events, Utf8JsonWriter json, OutputDelta delta)
    {
        if (job.Common.ContinuousUsage)
        {
            Usage.Write(json, delta);
        }
        // Only an answer to one prompt may have an offer.
        if (delta.FinishReason is not null && _generations[0] is { Offer: { } offer } held)
        {
            Requests.KvTransfer.Write(json, offer, held.Request);
        }
        json.WriteEndObject();
        events.End();
    }

    private async Task PumpAsync(Generation generation, int prompt, SseWriter events, SemaphoreSlim turn, CancellationTokenSource stop)
    {
        try
        {
            await foreach (OutputDelta delta in generation.WithCancellation(stop.Token))
            {
                await turn.WaitAsync(stop.Token);
                try
                {
                    job.Check(generation, delta);
                    _usage.Add(prompt, delta);
                    Write(events, prompt, delta);
                    await events.FlushAsync();
                }
                finally
                {
                    turn.Release();
                }
            }
        }
        catch (Exception)
        {
            await stop.CancelAsync();
            throw;
        }
    }

    private void WriteUsage(SseWriter events)
    {
        Utf8JsonWriter json = events.Begin();
        job.WriteHead(json, Kind);
        json.WriteStartArray("choices"u8);
        json.WriteEndArray();
        _usage.Write(json, HasCompletion);
        json.WriteEndObject();
        events.End();
    }
}
