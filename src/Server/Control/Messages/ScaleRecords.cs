using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Messages;

/// <summary>Asks how many workers of a role there should be.</summary>
[GenerateSerializer, Immutable]
internal sealed record ScaleQuestion
{
    /// <summary>The role.</summary>
    [Id(0)] public required WorkerRole Role { get; init; }

    /// <summary>Workers that it has, those included that are starting, without those that are about to end.</summary>
    [Id(1)] public required int Workers { get; init; }

    /// <summary>Bounds.</summary>
    [Id(2)] public required AutoscaleSettings Settings { get; init; }
}

/// <summary>Bounds as they travel.</summary>
[GenerateSerializer]
internal struct ScaleSurrogate
{
    [Id(0)] public int Fewest;
    [Id(1)] public int Most;
    [Id(2)] public TimeSpan QueueTimeOut;
    [Id(3)] public TimeSpan QueueTimeIn;
    [Id(4)] public double KvUsageOut;
    [Id(5)] public double KvUsageIn;
    [Id(6)] public TimeSpan PatienceOut;
    [Id(7)] public TimeSpan PatienceIn;
    [Id(8)] public TimeSpan CoolDown;
}

/// <summary>Turns bounds into what travels, and back.</summary>
[RegisterConverter]
internal sealed class ScaleConverter : IConverter<AutoscaleSettings, ScaleSurrogate>
{
    public AutoscaleSettings ConvertFromSurrogate(in ScaleSurrogate surrogate) => new()
    {
        Fewest = surrogate.Fewest,
        Most = surrogate.Most,
        QueueTimeOut = surrogate.QueueTimeOut,
        QueueTimeIn = surrogate.QueueTimeIn,
        KvUsageOut = surrogate.KvUsageOut,
        KvUsageIn = surrogate.KvUsageIn,
        PatienceOut = surrogate.PatienceOut,
        PatienceIn = surrogate.PatienceIn,
        CoolDown = surrogate.CoolDown,
    };

    public ScaleSurrogate ConvertToSurrogate(in AutoscaleSettings value) => new()
    {
        Fewest = value.Fewest,
        Most = value.Most,
        QueueTimeOut = value.QueueTimeOut,
        QueueTimeIn = value.QueueTimeIn,
        KvUsageOut = value.KvUsageOut,
        KvUsageIn = value.KvUsageIn,
        PatienceOut = value.PatienceOut,
        PatienceIn = value.PatienceIn,
        CoolDown = value.CoolDown,
    };
}
