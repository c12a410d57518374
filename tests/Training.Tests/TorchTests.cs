using System.Runtime.InteropServices;
using XDeepServe.Training.Running;

namespace XDeepServe.Training.Tests;

public sealed partial class TorchTests
{
    [Fact]
    public void Threads_of_libtorch_sleep_while_they_wait_for_one_another()
    {
        Torch.Load(""); // whatever is used first of the trainer
        Assert.Equal(Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") ?? "PASSIVE", Marshal.PtrToStringUTF8(Native("OMP_WAIT_POLICY")));
    }

    [Fact]
    public void A_folder_without_libtorch_is_refused() =>
        Assert.Contains("there is no libtorch.so in /nowhere", Assert.Throws<TrainingException>(() => Torch.Load("/nowhere")).Message, StringComparison.Ordinal);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint Native(string name);
}
