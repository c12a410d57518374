namespace XDeepServe.Alignment.Selection;

/// <summary>How candidates are scored against targets.</summary>
public enum SelectionMethod
{
    /// <summary>RoVRM, as set-level entropic transport: the candidate's mean cost under the plan between uniform measures; lower is better.</summary>
    Transport,

    /// <summary>RoVRM, with each gradient as a point mass: the mean distance from the targets; lower is better.</summary>
    Distance,

    /// <summary>LESS: the mean cosine with the targets; higher is better.</summary>
    Less,

    /// <summary>LRHP: the mean cosine with the targets; higher is better. The arithmetic of <see cref="Less"/> on representations instead of gradients.</summary>
    Preference,

    /// <summary>LRHP: the cosine with the targets' mean; higher is better.</summary>
    Centroid,

    /// <summary>LRHP: the cosine with the nearest target; higher is better.</summary>
    Nearest,

    /// <summary>A baseline: by lot.</summary>
    Random,

    /// <summary>A baseline: everything.</summary>
    All,
}
