using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>
/// Reads preference data in the forms that trainers know, example after example. What cannot be learnt from (equal answers, empty
/// text) is dropped and counted; what is wrong (a missing field, another type) is an error that names file, place and field.
/// </summary>
/// <remarks>
/// Pairs: TRL's (<c>chosen</c>, <c>rejected</c> as text or messages, with <c>prompt</c> or with what both begin with; <c>margin</c> or
/// <c>score_chosen</c> and <c>score_rejected</c>), LLaMA-Factory's (<c>instruction</c>, <c>input</c>, <c>history</c>, <c>system</c>, or
/// ShareGPT's <c>conversations</c>), ms-swift's (<c>messages</c> that the chosen answer ends, and <c>rejected_response</c> or <c>rejected_messages</c>), and
/// Anthropic's transcripts. Sets: <c>prompt</c>, <c>responses</c> and, where they are ranked, <c>scores</c> (higher is better) or
/// <c>ranks</c> (1 is best).
/// </remarks>
public static class PreferenceData
{
    /// <summary>Pairs of which one answer is preferred.</summary>
    /// <param name="path">The file (<see cref="DataFile"/>).</param>
    /// <param name="counts">Told of every example.</param>
    /// <exception cref="DataException">An example is wrong, or the file is broken.</exception>
    public static IEnumerable<PreferencePair> Pairs(string path, DataCounts counts) => PairsInRows(path, counts).Select(item => item.Pair);

    /// <summary>Pairs of which one answer is preferred, each with the row that says it.</summary>
    /// <inheritdoc cref="Pairs"/>
    public static IEnumerable<(Row Row, PreferencePair Pair)> PairsInRows(string path, DataCounts counts)
    {
        foreach (Row row in DataFile.Read(path))
        {
            counts.Add();
            (IReadOnlyList<Message> prompt, string? chosen, string? rejected) = PairForms.Read(row);
            prompt = row.WithImages(prompt, path);
            string? reason = chosen is null || rejected is null ? "answers of several turns" : Flaw(prompt, [chosen, rejected]) ?? (chosen == rejected ? "equal answers" : null);
            if (reason is not null)
            {
                counts.Drop(reason);
                continue;
            }
            yield return (row, new PreferencePair
            {
                Prompt = prompt,
                Chosen = chosen!,
                Rejected = rejected!,
                Margin = row.Margin,
                Subset = row.Name("subset"),
                Cluster = PreferencePair.ClusterOf(prompt),
            });
        }
    }

    /// <summary>Several answers in order of merit. Pairs are read, too, as sets of two. Of answers with the same score the first is kept.</summary>
    /// <inheritdoc cref="Pairs"/>
    public static IEnumerable<ResponseSet> Rankings(string path, DataCounts counts)
    {
        foreach (Row row in DataFile.Read(path))
        {
            counts.Add();
            if (Ranking(row, path) is not { } set)
                counts.Drop("answers of several turns");
            else if (Flaw(set.Prompt, set.Responses) is { } flaw)
                counts.Drop(flaw);
            else if (Distinct(set) is not { Responses.Count: >= 2 } distinct)
                counts.Drop("equal answers");
            else
                yield return distinct;
        }
    }

    /// <summary>Answers without labels. Labels that are there are not handed on; pairs are read as sets of two.</summary>
    /// <inheritdoc cref="Pairs"/>
    public static IEnumerable<ResponseSet> Unlabelled(string path, DataCounts counts)
    {
        foreach (Row row in DataFile.Read(path))
        {
            counts.Add();
            (IReadOnlyList<Message> prompt, IReadOnlyList<string>? responses) = Responses(row, path);
            if (responses is null)
                counts.Drop("answers of several turns");
            else if (Flaw(prompt, responses) is { } flaw)
                counts.Drop(flaw);
            else if (responses.Distinct().ToArray() is not { Length: >= 2 } distinct)
                counts.Drop("equal answers");
            else
                // In alphabetical order, so that the order of chosen and rejected does not slip through.
                yield return new ResponseSet { Prompt = prompt, Responses = [.. distinct.Order(StringComparer.Ordinal)], Subset = row.Name("subset"), Cluster = PreferencePair.ClusterOf(prompt) };
        }
    }

    /// <summary>
    /// What a language model learns from: <c>text</c>; <c>messages</c> or <c>conversations</c>; <c>prompt</c> and <c>completion</c>;
    /// <c>instruction</c>, <c>input</c> and <c>output</c>.
    /// </summary>
    /// <inheritdoc cref="Pairs"/>
    public static IEnumerable<Passage> Passages(string path, DataCounts counts)
    {
        foreach (Row row in DataFile.Read(path))
        {
            counts.Add();
            Passage passage = PairForms.ReadPassage(row);
            if (passage.Messages is { } shown)
                passage = passage with { Messages = row.WithImages(shown, path) };
            if (passage.Messages is { } messages ? messages.Count == 0 || messages.All(message => string.IsNullOrWhiteSpace(message.Content)) : string.IsNullOrWhiteSpace(passage.Text))
                counts.Drop("empty text");
            else if (passage.Messages is { } turns && turns[^1].Role != "assistant")
                counts.Drop("no answer at the end");
            else
                yield return passage;
        }
    }

    private static string? Flaw(IReadOnlyList<Message> prompt, IReadOnlyList<string> answers) =>
        prompt.All(message => string.IsNullOrWhiteSpace(message.Content)) ? "empty prompt"
        : answers.Any(string.IsNullOrWhiteSpace) ? "empty answers" : null;

    private static (IReadOnlyList<Message> Prompt, IReadOnlyList<string>? Responses) Responses(Row row, string path)
    {
        if (row.Has("responses"))
            return (row.WithImages(row.Messages("prompt"), path), row.Texts("responses"));
        (IReadOnlyList<Message> prompt, string? chosen, string? rejected) = PairForms.Read(row);
        return (row.WithImages(prompt, path), chosen is null || rejected is null ? null : [chosen, rejected]);
    }

    private static ResponseSet? Ranking(Row row, string path)
    {
        (IReadOnlyList<Message> prompt, IReadOnlyList<string>? responses) = Responses(row, path);
        if (responses is null)
            return null;
        bool ranks = row.Has("ranks");
        IReadOnlyList<double> scores = !row.Has("responses") ? [row.Number("score_chosen") ?? 1, row.Number("score_rejected") ?? 0]
            : ranks ? [.. row.Numbers("ranks").Select(rank => -rank)] : row.Numbers("scores");
        if (scores.Count != responses.Count)
            throw row.Wrong(ranks ? "ranks" : "scores", $"holds {scores.Count} numbers for {responses.Count} responses");
        int[] order = [.. Enumerable.Range(0, scores.Count).OrderByDescending(index => scores[index])];
        return new ResponseSet
        {
            Prompt = prompt,
            Responses = [.. order.Select(index => responses[index])],
            Scores = [.. order.Select(index => scores[index])],
            Subset = row.Name("subset"),
            Cluster = PreferencePair.ClusterOf(prompt),
        };
    }

    private static ResponseSet Distinct(ResponseSet set)
    {
        HashSet<string> texts = [];
        HashSet<double> scores = [];
        int[] kept = [.. Enumerable.Range(0, set.Responses.Count).Where(index => scores.Add(set.Scores![index]) && texts.Add(set.Responses[index]))];
        return set with { Responses = [.. kept.Select(index => set.Responses[index])], Scores = [.. kept.Select(index => set.Scores![index])] };
    }
}
