using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

public sealed class WorkerPoolTests
{
    private readonly record struct Count(int[] Done, int Bad = -1) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            if (part == Bad)
                throw new InvalidOperationException("part " + part);
            Interlocked.Increment(ref Done[part]);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Every_part_runs_exactly_once(int threads)
    {
        using WorkerPool pool = new(threads);
        for (int round = 0; round < 3000; round++)
        {
            int[] done = new int[round % 37];
            pool.Run(done.Length, new Count(done));
            Assert.All(done, count => Assert.Equal(1, count));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void An_exception_comes_to_the_caller_and_the_pool_goes_on(int threads)
    {
        using WorkerPool pool = new(threads);
        for (int round = 0; round < 50; round++)
        {
            Assert.Equal("part 7", Assert.Throws<InvalidOperationException>(() => pool.Run(20, new Count(new int[20], 7))).Message);
            int[] done = new int[20];
            pool.Run(20, new Count(done));
            Assert.All(done, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void Sleeping_threads_wake_up()
    {
        using WorkerPool pool = new(3);
        for (int round = 0; round < 5; round++)
        {
            Thread.Sleep(30); // long enough for every worker to fall asleep
            int[] done = new int[64];
            pool.Run(64, new Count(done));
            Assert.All(done, count => Assert.Equal(1, count));
        }
    }
}
