using XDeepServe.Models.Images;

namespace XDeepServe.Alignment.Scenes;

/// <summary>Objects, each in a cell of its own, and how they are drawn.</summary>
/// <param name="Objects">At least one.</param>
/// <param name="Seed">Of what descriptions do not say: the background and how far objects lie off their cells' centres.</param>
public sealed record Scene(IReadOnlyList<SceneObject> Objects, int Seed)
{
    /// <summary>Most objects of a scene.</summary>
    public const int MostObjects = 4;

    private const int Samples = 2; // along each edge of a pixel

    /// <summary>A scene by lot, its objects in the order of their cells.</summary>
    public static Scene Draw(Random random)
    {
        int[] cells = [.. Enumerable.Range(0, SceneObject.Cells.Count)];
        random.Shuffle(cells);
        return new Scene([.. cells[..random.Next(1, MostObjects + 1)].Order().Select(cell => SceneObject.Draw(random, cell))], random.Next());
    }

    /// <summary>What the scene looks like; the same for the same scene.</summary>
    /// <param name="size">Height and width in pixels; at least 12.</param>
    public RgbImage Render(int size)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 12);
        Random random = new(Seed);
        byte[] pixels = new byte[size * size * 3];
        Array.Fill(pixels, (byte)random.Next(10, 50));
        float cell = size / 3f;
        foreach (SceneObject one in Objects)
        {
            float radius = cell * (one.Extent == Extent.Large ? 0.44f : 0.25f), room = (cell / 2) - radius;
            float x = (cell * ((one.Cell % 3) + 0.5f)) + (room * ((2 * random.NextSingle()) - 1)), y = (cell * ((one.Cell / 3) + 0.5f)) + (room * ((2 * random.NextSingle()) - 1));
            Draw(pixels, size, one, x, y, radius);
        }
        return new RgbImage(size, size, pixels);
    }

    private static void Draw(byte[] pixels, int size, SceneObject one, float x, float y, float radius)
    {
        (byte red, byte green, byte blue) = Paint(one.Colour);
        for (int row = Math.Max(0, (int)(y - radius)); row < Math.Min(size, y + radius + 1); row++)
            for (int column = Math.Max(0, (int)(x - radius)); column < Math.Min(size, x + radius + 1); column++)
            {
                int inside = 0;
                for (int sample = 0; sample < Samples * Samples; sample++)
                {
                    float dx = (column + ((sample % Samples + 0.5f) / Samples) - x) / radius, dy = (row + ((sample / Samples + 0.5f) / Samples) - y) / radius;
                    inside += Contains(one.Shape, dx, dy) ? 1 : 0;
                }
                int at = ((row * size) + column) * 3;
                pixels[at] = Mix(pixels[at], red, inside);
                pixels[at + 1] = Mix(pixels[at + 1], green, inside);
                pixels[at + 2] = Mix(pixels[at + 2], blue, inside);
            }
    }

    private static byte Mix(byte below, byte above, int inside) => (byte)(((below * ((Samples * Samples) - inside)) + (above * inside)) / (Samples * Samples));

    // Coordinates from -1 to 1 within the object.
    private static bool Contains(Shape shape, float x, float y) => shape switch
    {
        Shape.Circle => (x * x) + (y * y) <= 1,
        Shape.Square => Math.Max(Math.Abs(x), Math.Abs(y)) <= 0.9f,
        Shape.Triangle => y <= 0.9f && Math.Abs(x) <= (y + 1) / 1.9f,
        _ => Math.Max(Math.Abs(x), Math.Abs(y)) <= 1 && Math.Min(Math.Abs(x), Math.Abs(y)) <= 0.35f,
    };

    private static (byte Red, byte Green, byte Blue) Paint(Colour colour) => colour switch
    {
        Colour.Red => (220, 40, 40),
        Colour.Green => (50, 190, 70),
        Colour.Blue => (60, 90, 235),
        Colour.Yellow => (235, 215, 50),
        Colour.Purple => (170, 70, 200),
        _ => (240, 240, 240),
    };
}
