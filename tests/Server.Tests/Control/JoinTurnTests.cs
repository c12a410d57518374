using XDeepServe.Server.Control;

namespace XDeepServe.Server.Tests.Control;

public sealed class JoinTurnTests
{
    [Fact]
    public async Task One_silo_of_a_service_joins_at_a_time_and_others_do_not_wait_for_it()
    {
        ServiceOptions service = new() { Name = Guid.NewGuid().ToString(), Worker = "first" };
        using JoinTurn first = new(service with { Redis = "127.0.0.1:1" }), second = new(service with { Redis = "127.0.0.1:1", Worker = "second" });
        using JoinTurn other = new(service with { Redis = "127.0.0.1:2" });
        await first.TakeAsync(TestContext.Current.CancellationToken);
        Task waiting = second.TakeAsync(TestContext.Current.CancellationToken);
        await other.TakeAsync(TestContext.Current.CancellationToken);
        Assert.False(waiting.IsCompleted);
        first.Dispose();
        await waiting;
        first.Dispose(); // it has no turn any more, so it takes none away
        using JoinTurn third = new(service with { Redis = "127.0.0.1:1" });
        using CancellationTokenSource stop = new();
        Task late = third.TakeAsync(stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => late);
    }
}
