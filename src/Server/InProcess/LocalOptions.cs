using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;
using XDeepServe.Kernels;

namespace XDeepServe.Server.InProcess;

/// <summary>A model to run inside an application.</summary>
public sealed record LocalOptions
{
    /// <summary>Folder or GGUF file of the model.</summary>
    public required string Model { get; init; }

    /// <summary>Its name in answers; null for the name of the folder or file.</summary>
    public string? Name { get; init; }

    /// <summary>Number of the GPU that computes; null for the CPU.</summary>
    public int? Gpu { get; init; }

    /// <summary>Threads that compute on the CPU; 0 for all cores.</summary>
    public int Threads { get; init; }

    /// <summary>Whether these threads keep to their cores. An application that has other work for the cores says no.</summary>
    public bool PinThreads { get; init; }

    /// <summary>Type to convert linear weights to while loading; null to keep theirs.</summary>
    public ElementType? Quantization { get; init; }

    /// <summary>Most tokens of a prompt and its answer; null for the model's own limit.</summary>
    public int? MaxModelLength { get; init; }

    /// <summary>The engine. Its longest sequence is set when the model is known.</summary>
    public EngineOptions Engine { get; init; } = new() { MaxModelLength = 0 };

    /// <summary>The question that a generative reward model answers.</summary>
    public JudgePrompt Judge { get; init; } = new();
}
