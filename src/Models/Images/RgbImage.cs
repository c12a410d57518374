namespace XDeepServe.Models.Images;

/// <summary>Decoded pixels.</summary>
/// <param name="Width">Pixels in a row; at least 1.</param>
/// <param name="Height">Rows; at least 1.</param>
/// <param name="Pixels"><c>[height, width, 3]</c>: red, green, blue.</param>
public sealed record RgbImage(int Width, int Height, byte[] Pixels);
