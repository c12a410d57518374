namespace XDeepServe.FlowServe.Balancing;

/// <summary>What a Job Executor knows of a Task Executor.</summary>
public sealed record ExecutorLoad
{
    /// <summary>Requests that run or wait there.</summary>
    public int Requests { get; init; }

    /// <summary>Most requests that it takes.</summary>
    public required int RequestLimit { get; init; }

    /// <summary>What its prefill works on; None while some DP group is idle.</summary>
    public PromptClass Class { get; init; }

    /// <summary>Predicted seconds until its least busy DP group could begin a prompt.</summary>
    public double Backlog { get; init; }

    /// <summary>Requests of each of its DP groups that take turns with an answer; 0 where prompts alone are read.</summary>
    public double Answering { get; init; }

    /// <summary>What prefill costs there.</summary>
    public PrefillCost Cost { get; init; }

    /// <summary>Most tokens of a step.</summary>
    public int StepTokens { get; init; } = 512;

    /// <summary>Share of its cache in use, 0 to 1, or more where expected outputs need more than there is.</summary>
    public double KvUsage { get; init; }

    /// <summary>Tokens at the prompt's beginning that its caches hold.</summary>
    public int Held { get; init; }
}

/// <summary>Which Task Executor gets a request (paper §5.1): decided by a Job Executor, which holds no state of its own. Pure.</summary>
public static class JobPlacement
{
    private const int AnswerTokens = 128; // of a usual answer: what is held of a prompt counts for little beside a crowd in which the answer is written

    /// <summary>By prefix-cache status, load and length: the one that should be through with the prompt first, and with the answer, where it stays.</summary>
    /// <param name="executors">Those that prefill.</param>
    /// <param name="tokens">Tokens of the prompt.</param>
    /// <param name="longPrompt">Tokens to compute from which a prompt is long.</param>
    /// <returns>Place in <paramref name="executors"/>; -1 if all are full.</returns>
    public static int Prefill(IReadOnlyList<ExecutorLoad> executors, int tokens, int longPrompt)
    {
        int best = -1;
        (bool Mixes, double End) least = default;
        for (int place = 0; place < executors.Count; place++)
        {
            ExecutorLoad load = executors[place];
            if (load.Requests >= load.RequestLimit)
                continue;
            PromptClass wanted = tokens - load.Held >= longPrompt ? PromptClass.Long : PromptClass.Short;
            // A prompt that waits behind its own kind is better off than one that must wait for a group to run dry.
            (bool, double) order = (load.Class != PromptClass.None && load.Class != wanted, load.Backlog + load.Cost.Prompt(tokens, load.Held, load.StepTokens) + (AnswerTokens * load.Answering * load.Cost.Token));
            if (best < 0 || order.CompareTo(least) < 0)
                (best, least) = (place, order);
        }
        return best;
    }

    /// <summary>By load: the one whose cache is emptiest, expected outputs included.</summary>
    /// <param name="executors">Those that decode.</param>
    /// <returns>Place in <paramref name="executors"/>; -1 if all are full.</returns>
    public static int Decode(IReadOnlyList<ExecutorLoad> executors)
    {
        int best = -1;
        for (int place = 0; place < executors.Count; place++)
            if (executors[place].Requests < executors[place].RequestLimit
                && (best < 0 || (executors[place].KvUsage, executors[place].Requests).CompareTo((executors[best].KvUsage, executors[best].Requests)) < 0))
                best = place;
        return best;
    }
}
