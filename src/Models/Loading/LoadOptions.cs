namespace XDeepServe.Models.Loading;

/// <summary>What kind of files to expect.</summary>
public enum LoadFormat
{
    /// <summary>Whatever is there.</summary>
    Auto,
    /// <summary>safetensors, one file or several with an index.</summary>
    Safetensors,
    /// <summary>One GGUF file.</summary>
    Gguf,
    /// <summary>No weights: random ones in the shapes of the config.json.</summary>
    Dummy,
}
