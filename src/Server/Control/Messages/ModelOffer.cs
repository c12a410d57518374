namespace XDeepServe.Server.Control.Messages;

/// <summary>Where a model's files can be fetched. The files themselves never travel as messages.</summary>
[GenerateSerializer, Immutable]
internal sealed record ModelOffer
{
    /// <summary>Ends in a slash; a file's name goes behind it. Nobody guesses it: who may ask the service may read the files.</summary>
    [Id(0)] public required string Url { get; init; }

    /// <summary>See <see cref="Models.Loading.ModelFiles.Fingerprint"/>.</summary>
    [Id(1)] public required ulong Fingerprint { get; init; }

    /// <summary>The files.</summary>
    [Id(2)] public required OfferedFile[] Files { get; init; }
}

/// <summary>A file of a model.</summary>
/// <param name="Name">Without a folder.</param>
/// <param name="Bytes">Its size.</param>
[GenerateSerializer, Immutable]
internal sealed record OfferedFile([property: Id(0)] string Name, [property: Id(1)] long Bytes);
