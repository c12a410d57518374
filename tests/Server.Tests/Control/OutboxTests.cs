using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Executor;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Control.Weights;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Tests.Control;

/// <summary>What a Task Executor sends to its front ends.</summary>
public sealed class OutboxTests
{
    [Fact]
    public async Task NumbersGoOnWhenAFrontEndAnswersAgainThatHadNotForLong()
    {
        TaskExecutor? executor = null;
        using TinyModel model = TinyModel.Create(TestService.Engine, published: _ => Volatile.Read(ref executor)?.Flush());
        ServiceOptions options = new() { Worker = "colocated-0", HeartbeatPatience = TimeSpan.FromMilliseconds(50) };
        using DistFlow flow = new(model.Shell, "colocated-0", (_, _, _) => Task.CompletedTask);
        await using ModelShare share = new("tiny", IPAddress.Loopback);
        Volatile.Write(ref executor, new TaskExecutor(new ExecutorInfo { Id = "colocated-0", Name = "colocated-0", Role = WorkerRole.Colocated, Model = "tiny", Host = "here", Pid = 1, Groups = 1, RequestLimit = 8, CacheBlocks = 192, BlockSize = 16, MaxModelLength = 512, MaxBatchedTokens = 64, LongPrompt = 2048 }, model.Shell, flow, share, options, NullLogger.Instance));
        Listener listener = new();
        Submit(1);
        await ServerHost.UntilAsync(() => Task.FromResult(listener.Last > 20), "some messages have come");
        listener.Answers = false;
        await ServerHost.UntilAsync(() => Task.FromResult(model.Shell.Unfinished == 0), "the Task Executor gave the front end up");
        long last = listener.Last;
        listener.Answers = true;
        Submit(2);
        await ServerHost.UntilAsync(() => Task.FromResult(listener.Ended), "the second request has ended");
        Assert.True(listener.Least(2) > last, $"Message {listener.Least(2)} counts as a repetition of one up to {last}.");

        void Submit(long task) => executor.Submit(task, new GenerationRequest { Id = $"{task}", Prompt = [1, 2, 3], Sampling = new SamplingParameters { MaxTokens = task == 1 ? 500 : 4, IgnoreEos = true } }, listener, "front");
    }

    /// <summary>A front end that may be out of reach.</summary>
    private sealed class Listener : IFrontEnd
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<long, long> _least = [];
        private long _last;
        private volatile bool _answers = true, _ended;

        public bool Answers
        {
            get => _answers;
            set => _answers = value;
        }

        public long Last => Interlocked.Read(ref _last);

        public bool Ended => _ended;

        public Task Deliver(OutputBatch batch)
        {
            if (!_answers)
            {
                return Task.FromException(new TimeoutException());
            }
            Interlocked.Exchange(ref _last, batch.Number);
            lock (_gate)
            {
                foreach (OutputRecord record in batch.Events)
                {
                    _least.TryAdd(record.Task, batch.Number);
                    _ended |= record is { Task: 2, Finish: not null };
                }
            }
            return Task.CompletedTask;
        }

        public Task Update(ClusterUpdate update) => Task.CompletedTask;

        /// <summary>The number of the first message with anything of a task.</summary>
        public long Least(long task)
        {
            lock (_gate)
            {
                return _least[task];
            }
        }
    }
}
