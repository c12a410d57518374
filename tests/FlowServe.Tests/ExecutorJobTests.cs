using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Work that the executor's thread does between steps.</summary>
public sealed class ExecutorJobTests
{
    [Fact]
    public async Task Steps_have_their_turn_however_many_jobs_wait()
    {
        using TestEngine engine = new();
        int[] alone = await engine.Tokens(engine.Prompt(40, 1), TestEngine.Greedy(30));
        bool ended = false;
        int done = 0, outstanding = 64;
        TaskCompletionSource rest = new(TaskCreationOptions.RunContinuationsAsynchronously);
        for (int i = 0; i < 64; i++)
            engine.Shell.Group.PostToExecutor(Job);
        // Were jobs always first, these, which post themselves again, would leave no step its turn.
        Assert.Equal(alone, await engine.Tokens(engine.Prompt(40, 1), TestEngine.Greedy(30)));
        Assert.True(Volatile.Read(ref done) > 64);
        Volatile.Write(ref ended, true);
        await rest.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);

        void Job()
        {
            done++;
            if (!Volatile.Read(ref ended))
                engine.Shell.Group.PostToExecutor(Job);
            else if (--outstanding == 0)
                rest.SetResult();
        }
    }

    [Fact]
    public void A_copy_that_fails_is_told_to_whoever_waits_for_it()
    {
        using TestEngine engine = new();
        using Copier copier = new(new LinkOptions { CopyBetweenSteps = true });
        copier.Begin(engine.Shell.Group, () => engine.Shell.Group.Port.Read([0], 0, 999, new byte[1]));
        Assert.IsType<ArgumentOutOfRangeException>(Assert.Throws<InvalidOperationException>(copier.Await).InnerException);
        copier.Begin(engine.Shell.Group, () => engine.Shell.Group.Port.Read([0], 0, 1, new byte[engine.Shell.Group.Port.BytesPerPosition]));
        copier.Await();
    }
}
