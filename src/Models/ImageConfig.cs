using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>The vision transformer in front of a text model, and what joins the two.</summary>
/// <param name="TextFamily">Family of the text model.</param>
/// <param name="TokenId">The token that stands for an image's rows in a prompt.</param>
/// <param name="Size">Height and width of the images it takes, in pixels.</param>
/// <param name="PatchSize">Height and width of a patch; divides <paramref name="Size"/>.</param>
/// <param name="HiddenSize">Columns of its residual stream.</param>
/// <param name="FeedForwardSize">Inner columns of a layer.</param>
/// <param name="Layers">Layers that are run: those up to the one whose output the text model sees.</param>
/// <param name="Heads">Attention heads.</param>
/// <param name="Epsilon">Of its norms.</param>
/// <param name="Activation">Of its layers.</param>
/// <param name="ProjectorActivation">Between the two matrices that lead to the text model.</param>
/// <param name="ProjectorBias">Whether these have biases.</param>
/// <param name="KeepsClass">Whether the text model sees the class row too, or patches alone.</param>
public sealed record ImageConfig(
    string TextFamily, int TokenId, int Size, int PatchSize, int HiddenSize, int FeedForwardSize, int Layers, int Heads, float Epsilon,
    GeluForm Activation, GeluForm ProjectorActivation, bool ProjectorBias, bool KeepsClass)
{
    /// <summary>Colours of a pixel.</summary>
    public const int Channels = 3;

    /// <summary>Patches of an image.</summary>
    public int Patches => Size / PatchSize * (Size / PatchSize);

    /// <summary>Columns of a patch: its pixels, colour by colour.</summary>
    public int PatchColumns => Channels * PatchSize * PatchSize;

    /// <summary>Rows, and so tokens, that an image takes in a prompt.</summary>
    public int Rows => Patches + (KeepsClass ? 1 : 0);

    /// <summary>Values of an image's pixels <c>[3, size, size]</c>.</summary>
    public int Pixels => Channels * Size * Size;
}
