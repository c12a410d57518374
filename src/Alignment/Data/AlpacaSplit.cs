namespace XDeepServe.Alignment.Data;

/// <summary>Which prompts of AlpacaEval. Sets are split by prompt, never by row.</summary>
public enum AlpacaSplit
{
    /// <summary>selfinstruct, oasst and koala, without the held-out prompts.</summary>
    Train,

    /// <summary>helpful_base and vicuna, without the held-out prompts: to adapt and to validate.</summary>
    Validation,

    /// <summary>Prompts whose id is divisible by 20, of every source: held out.</summary>
    Test,
}
