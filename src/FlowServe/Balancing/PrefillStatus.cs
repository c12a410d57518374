namespace XDeepServe.FlowServe.Balancing;

/// <summary>Long and short prompts never share a DP group (paper §5.1).</summary>
public enum PromptClass
{
    /// <summary>Nothing: the group is idle.</summary>
    None,
    /// <summary>Prompts with few tokens to compute.</summary>
    Short,
    /// <summary>Prompts with many.</summary>
    Long,
}

/// <summary>One DP group's row of the status all-gather (paper §4.3).</summary>
/// <param name="Class">What it works on.</param>
/// <param name="Backlog">Predicted seconds until it has nothing left to compute.</param>
/// <param name="Room">Requests that it can still take.</param>
/// <param name="Cost">What prefill costs there.</param>
public readonly record struct PrefillStatus(PromptClass Class, double Backlog, int Room, PrefillCost Cost);

/// <summary>A request in the shared queue.</summary>
/// <param name="Tokens">Tokens of the prompt.</param>
/// <param name="Hits">[groups] tokens at its beginning that each group's cache holds.</param>
public readonly record struct PrefillJob(int Tokens, int[] Hits);

/// <summary>What the leader decided for one request.</summary>
/// <param name="Job">Place in the queue.</param>
/// <param name="Group">The DP group that computes it.</param>
public readonly record struct PrefillAssignment(int Job, int Group);
