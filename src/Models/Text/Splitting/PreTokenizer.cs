namespace XDeepServe.Models.Text.Splitting;

/// <summary>One step of splitting text into pieces that are encoded apart. Any thread may use it.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Splits the pieces further, or rewrites them.</summary>
    public abstract void Run(PieceBuffer buffer);
}
