using System.Globalization;
using System.IO.Hashing;
using System.Net.Sockets;
using System.Text;
using Orleans.Runtime;

namespace XDeepServe.Server.Control;

/// <summary>
/// The silos of a host join their service one after the other. Membership's table takes one change at a time, and whoever loses that race
/// waits for seconds before it tries again: of workers that are started together all but one would. The turn is a name in the kernel's
/// abstract space of sockets, which goes with its process. It saves time and keeps nothing right: after some seconds a silo goes on without.
/// </summary>
internal sealed class JoinTurn(ServiceOptions options) : ILifecycleParticipant<ISiloLifecycle>, IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10), s_interval = TimeSpan.FromMilliseconds(5);
    private Socket? _turn;

    public void Participate(ISiloLifecycle lifecycle)
    {
        lifecycle.Subscribe(nameof(JoinTurn), ServiceLifecycleStage.AfterRuntimeGrainServices - 1, TakeAsync);
        lifecycle.Subscribe(nameof(JoinTurn), ServiceLifecycleStage.Active + 1, _ =>
        {
            Dispose();
            return Task.CompletedTask;
        });
    }

    /// <summary>The turn is another's, if this silo did not come as far as that.</summary>
    public void Dispose() => Interlocked.Exchange(ref _turn, null)?.Dispose();

    /// <summary>Waits for the turn, for a while.</summary>
    internal async Task TakeAsync(CancellationToken cancel)
    {
        UnixDomainSocketEndPoint name = new(Name(options));
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(s_patience);
        while (!patience.IsCancellationRequested)
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Bind(name);
                _turn = socket;
                return;
            }
            catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                socket.Dispose();
                await Task.WhenAny(Task.Delay(s_interval, patience.Token)).ConfigureAwait(false);
            }
        }
        cancel.ThrowIfCancellationRequested();
    }

    /// <summary>The same for all of a service, short enough for a socket; the launcher itself, whose table it is, has nobody to wait for.</summary>
    private static string Name(ServiceOptions options)
    {
        ulong service = XxHash3.HashToUInt64(Encoding.UTF8.GetBytes($"{options.Name} {options.Redis ?? options.Primary?.ToString() ?? options.Worker}"));
        return string.Create(CultureInfo.InvariantCulture, $"\0xds-join-{service:x16}");
    }
}
