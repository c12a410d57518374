using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

/// <summary>Which threads are bound to which cores: asked of the system, in threads that end with the test.</summary>
public sealed class BindingTests
{
    [Fact]
    public void A_caller_is_bound_to_its_core_and_a_backend_that_leaves_cores_free_binds_none()
    {
        if (!OperatingSystem.IsLinux())
            return;
        int cores = 0, boundTo = 0, childCores = 0;
        bool all = false, some = true, beyond = true, unpinned = true;
        Thread thread = new(() =>
        {
            cores = ThreadAffinity.Cores();
            using WorkerPool beyondPool = new(2, pin: true, firstCore: cores - 1), freePool = new(cores, pin: false), partPool = new(cores + 1);
            (some, beyond, unpinned) = (partPool.BindCaller(), beyondPool.BindCaller(), freePool.BindCaller());
            using WorkerPool last = new(1, pin: true, firstCore: cores - 1);
            all = last.BindCaller();
            boundTo = ThreadAffinity.Cores();
            Thread child = new(() => childCores = ThreadAffinity.Cores());
            child.Start();
            child.Join();
        });
        thread.Start();
        thread.Join();
        Assert.Equal((true, false, false, false), (all, some, beyond, unpinned));
        Assert.Equal(1, boundTo);
        Assert.Equal(cores, childCores); // .NET's pool grows from whatever thread asks it
    }
}
