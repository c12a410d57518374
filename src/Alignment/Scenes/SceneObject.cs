namespace XDeepServe.Alignment.Scenes;

/// <summary>What an object looks like.</summary>
public enum Shape
{
    /// <summary>Round.</summary>
    Circle,

    /// <summary>Four sides.</summary>
    Square,

    /// <summary>Three sides, one of them below.</summary>
    Triangle,

    /// <summary>Two bars.</summary>
    Cross,
}

/// <summary>An object's colour.</summary>
public enum Colour
{
    /// <summary>(220, 40, 40).</summary>
    Red,

    /// <summary>(50, 190, 70).</summary>
    Green,

    /// <summary>(60, 90, 235).</summary>
    Blue,

    /// <summary>(235, 215, 50).</summary>
    Yellow,

    /// <summary>(170, 70, 200).</summary>
    Purple,

    /// <summary>(240, 240, 240).</summary>
    White,
}

/// <summary>An object's size.</summary>
public enum Extent
{
    /// <summary>About half of its cell.</summary>
    Small,

    /// <summary>Most of its cell.</summary>
    Large,
}

/// <summary>One object of a scene, and a statement that there is such a one.</summary>
/// <param name="Extent">Its size.</param>
/// <param name="Colour">Its colour.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Cell">Its place among three rows of three, from the top left.</param>
public readonly record struct SceneObject(Extent Extent, Colour Colour, Shape Shape, int Cell)
{
    /// <summary>Names of the cells.</summary>
    public static readonly IReadOnlyList<string> Cells =
        ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"];

    /// <summary>Any object at all.</summary>
    public static SceneObject Draw(Random random, int cell) => new(Any<Extent>(random), Any<Colour>(random), Any<Shape>(random), cell);

    /// <summary>The same with one property changed.</summary>
    public SceneObject Corrupt(Random random) => random.Next(4) switch
    {
        0 => this with { Extent = Other(random, Extent) },
        1 => this with { Colour = Other(random, Colour) },
        2 => this with { Shape = Other(random, Shape) },
        _ => this with { Cell = (Cell + 1 + random.Next(Cells.Count - 1)) % Cells.Count },
    };

    /// <summary>Like "small red circle".</summary>
    public override string ToString() => $"{Word(Extent)} {Word(Colour)} {Word(Shape)}";

    internal static string Word<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static T Any<T>(Random random) where T : struct, Enum
    {
        T[] values = Enum.GetValues<T>();
        return values[random.Next(values.Length)];
    }

    private static T Other<T>(Random random, T value) where T : struct, Enum
    {
        T[] values = Enum.GetValues<T>();
        return values[(Array.IndexOf(values, value) + 1 + random.Next(values.Length - 1)) % values.Length];
    }
}
