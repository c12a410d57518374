using System.Reflection;
using System.Runtime.InteropServices;
using TorchSharp;
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

    // As TorchSharp comes, one collection in a hundred frees a number that libtorch is about to read, once its methods are optimised.
    [Fact]
    public void A_number_lives_until_libtorch_has_read_it()
    {
        const int Collections = 1000;
        using DisposeScope all = torch.NewDisposeScope();
        torch.Tensor two = torch.full(4, 2);
        int collected = 0;
        Thread collector = new(() =>
        {
            for (; Volatile.Read(ref collected) < Collections; Volatile.Write(ref collected, collected + 1))
            {
                GC.Collect(0);
                Thread.SpinWait(20_000);
            }
        });
        Assert.True(typeof(torch.Tensor).GetMethod("gt", [typeof(Scalar)])!.MethodImplementationFlags.HasFlag(MethodImplAttributes.NoOptimization), "TorchSharp.targets was at work");
        collector.Start();
        try
        {
            while (Volatile.Read(ref collected) < Collections)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                torch.Tensor seven = two * 3.0 + two - 1.0;
                Assert.Equal(7, seven.data<float>()[3]);
                Assert.True(seven.gt(6).data<bool>()[3]);
            }
        }
        finally
        {
            Volatile.Write(ref collected, Collections);
            collector.Join();
        }
    }

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint Native(string name);
}
