using TorchSharp;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Running;
using static TorchSharp.torch;

namespace XDeepServe.Training.Transport;

/// <summary>Selection whose entropic transport is solved on a GPU where there is one, and on all cores where there is none.</summary>
public static class DeviceSelection
{
    /// <summary>Scores and picks.</summary>
    /// <param name="candidates">Features to choose from.</param>
    /// <param name="targets">Features of what they are wanted for.</param>
    /// <param name="settings">How; on the CPU all cores take part.</param>
    /// <param name="device">auto, cpu or cuda.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TrainingException">There is no such device.</exception>
    public static SelectionReport Select(FeatureFile candidates, FeatureFile targets, SelectionSettings settings, string device, CancellationToken cancel)
    {
        settings = settings with { Sinkhorn = settings.Sinkhorn with { Threads = Environment.ProcessorCount } };
        Device chosen = Torch.Choose(device);
        TransportPlan? plan = settings.Method == SelectionMethod.Transport && chosen.type != DeviceType.CPU ? DevicePasses.Solve(candidates, targets, settings, chosen, cancel) : null;
        return Selector.Select(candidates, targets, settings, plan, cancel);
    }
}
