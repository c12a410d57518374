namespace XDeepServe.Models.Families;

/// <summary>How a published file spells a tensor's name.</summary>
/// <param name="Name">The name in the file.</param>
/// <param name="Transposed">Whether the file stores input features first.</param>
public readonly record struct Spelling(string Name, bool Transposed = false);
