using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace XDeepServe.Training.Running;

/// <summary>Finds libtorch and the device.</summary>
internal static partial class Torch
{
    // In the order in which they need one another.
    private static readonly string[] Libraries = ["libc10.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_cuda.so", "libtorch.so"];

    /// <summary>
    /// Has libtorch's threads on the CPU sleep while they wait for one another, unless the environment says how they wait: where other programs compute too, threads
    /// that spin keep those from running that they wait for. Before libtorch is loaded, which reads it once.
    /// </summary>
    [ModuleInitializer]
    internal static void WaitAsleep()
    {
        if (!OperatingSystem.IsWindows())
            _ = SetEnvironment("OMP_WAIT_POLICY", "PASSIVE", 0);
    }

    /// <summary>Loads another libtorch than the one beside this program. Before the first operation.</summary>
    /// <param name="folder">Its folder; empty for the one beside.</param>
    /// <exception cref="TrainingException">It is not there, or does not load.</exception>
    public static void Load(string folder)
    {
        if (folder.Length == 0)
            return;
        if (!File.Exists(Path.Combine(folder, Libraries[^1])))
            throw new TrainingException($"libtorch: there is no {Libraries[^1]} in {folder}; name the folder that holds it, such as torch/lib of a Python installation.");
        foreach (string library in Libraries.Select(name => Path.Combine(folder, name)).Where(File.Exists))
        {
            try
            {
                NativeLibrary.Load(library);
            }
            catch (DllNotFoundException failure)
            {
                throw new TrainingException($"{library} does not load: {failure.Message} Put the folders of the libraries it needs on LD_LIBRARY_PATH.");
            }
        }
    }

    /// <summary>The device of a name.</summary>
    /// <exception cref="TrainingException">It is not there.</exception>
    public static Device Choose(string name)
    {
        bool there = name != "cpu" && cuda.is_available();
        return name == "cuda" && !there ? throw new TrainingException("There is no CUDA device, or this libtorch cannot use it; use device cpu, or name a libtorch with CUDA (libtorch).") : there ? CUDA : CPU;
    }

    // .NET keeps variables of its own, which native code does not see.
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
