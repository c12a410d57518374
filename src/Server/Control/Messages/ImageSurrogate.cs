using XDeepServe.Models.Images;

namespace XDeepServe.Server.Control.Messages;

/// <summary>An image of a prompt as it travels: part of the request, never an activation.</summary>
[GenerateSerializer]
internal struct ImageSurrogate
{
    [Id(0)] public int Start;
    [Id(1)] public int Rows;
    [Id(2)] public float[] Pixels;
}

/// <summary>Turns images into what travels, and back.</summary>
[RegisterConverter]
internal sealed class ImageConverter : IConverter<PromptImage, ImageSurrogate>
{
    public PromptImage ConvertFromSurrogate(in ImageSurrogate surrogate) => new(surrogate.Start, surrogate.Rows, surrogate.Pixels);

    public ImageSurrogate ConvertToSurrogate(in PromptImage value) => new() { Start = value.Start, Rows = value.Rows, Pixels = value.Pixels };
}
