using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Transformerless;

/// <summary>How the number of a role's workers follows the load.</summary>
/// <param name="Role">The role: colocated, prefill or decode.</param>
/// <param name="Settings">Bounds.</param>
/// <param name="Spares">Workers that stand by with the model loaded.</param>
public sealed record RoleScaling(WorkerRole Role, AutoscaleSettings Settings, int Spares)
{
    /// <summary>Whether the number of a role's workers can change while they serve.</summary>
    public static bool Fits(WorkerRole role) => role is WorkerRole.Colocated or WorkerRole.Prefill or WorkerRole.Decode;
}
