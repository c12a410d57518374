namespace XDeepServe.Transformerless;

/// <summary>What a worker process does (paper §4).</summary>
public enum WorkerRole
{
    /// <summary>Reads prompts and generates: the whole engine in one process.</summary>
    Colocated,
    /// <summary>Reads prompts; the request goes on elsewhere behind its first token.</summary>
    Prefill,
    /// <summary>Generates what follows the first token.</summary>
    Decode,
    /// <summary>Answers clients over HTTP; runs no model.</summary>
    Frontend,
    /// <summary>Reads prompts and generates without the routed experts, which are with expert workers.</summary>
    Attention,
    /// <summary>Runs routed experts for attention workers, and nothing else.</summary>
    Expert,
    /// <summary>Reads prompts and generates with a share of the routed experts; the others are with the other ranks (expert parallelism).</summary>
    Rank,
}
