using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>Who proposes tokens.</summary>
public enum SpeculationMethod
{
    /// <summary>The model's own module for multi-token prediction.</summary>
    DraftModule,

    /// <summary>What followed when the last tokens stood in the sequence before.</summary>
    PromptLookup,

    /// <summary>A smaller model with the same tokens.</summary>
    DraftModel,
}

/// <summary>Settings of speculative decoding.</summary>
public sealed record SpeculationOptions
{
    /// <summary>Most tokens proposed at once.</summary>
    public const int MostTokens = 16;

    /// <summary>Who proposes.</summary>
    public SpeculationMethod Method { get; init; } = SpeculationMethod.DraftModule;

    /// <summary>Tokens proposed at once.</summary>
    public int Tokens { get; init; } = 1;

    /// <summary>Nothing is proposed in steps with at least so many sequences; null to decide by measured times.</summary>
    public int? DisableBySequences { get; init; }

    /// <summary>Most last tokens that are looked up.</summary>
    public int LookupMost { get; init; } = 5;

    /// <summary>Fewest last tokens that are looked up.</summary>
    public int LookupLeast { get; init; } = 2;

    /// <summary>The smaller model, on the same backend; stays the caller's. It speaks the same tokens.</summary>
    public Model? DraftModel { get; init; }

    /// <summary>Checks the values against each other and against the model.</summary>
    /// <exception cref="ArgumentException">A value cannot work; says which.</exception>
    public void Validate(Model model, int maxModelLength)
    {
        Require(Tokens is >= 1 and <= MostTokens, $"Between 1 and {MostTokens} tokens can be proposed at once (num_speculative_tokens).");
        Require(DisableBySequences is null or >= 1, "disable_by_batch_size is at least 1.");
        Require(LookupLeast >= 1 && LookupMost >= LookupLeast, "prompt_lookup_min is at least 1, and prompt_lookup_max at least as much.");
        Require(Method != SpeculationMethod.DraftModule || model.Drafts.Count > 0, "The model's file holds no module for multi-token prediction: choose the method ngram or draft_model.");
        if (Method != SpeculationMethod.DraftModel)
            return;
        Require(DraftModel is not null, "The method draft_model needs a model (model).");
        Require(DraftModel!.Config.VocabularySize == model.Config.VocabularySize, $"The draft model has {DraftModel.Config.VocabularySize} tokens, the model {model.Config.VocabularySize}: they do not speak the same ones.");
        Require(DraftModel.MaxLength >= maxModelLength, $"The draft model's longest context is {DraftModel.MaxLength} tokens, shorter than the {maxModelLength} served: lower --max-model-len.");
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
            throw new ArgumentException(message);
    }
}
