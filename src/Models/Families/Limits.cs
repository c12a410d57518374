namespace XDeepServe.Models.Families;

/// <summary>
/// Bounds on configuration values, far above any published model: what exceeds them is a broken file, and products of what
/// keeps them stay clear of 32-bit overflow.
/// </summary>
internal static class Limits
{
    public const int Columns = 1 << 20;
    public const int Experts = 4096;
    public const int Heads = 1024;
    public const int HeadWidth = 1024;
    public const int ImageSize = 4096;
    public const int Labels = 4096;
    public const int Layers = 4096;
    public const int Positions = 1 << 24;
    public const int Vocabulary = 1 << 24;
}
