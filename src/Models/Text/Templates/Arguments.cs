namespace XDeepServe.Models.Text.Templates;

/// <summary>The arguments of a call. Whoever reads them asks by place and name, as Python does.</summary>
/// <param name="Positional">Those without a name.</param>
/// <param name="Named">Those with one.</param>
/// <param name="Rendering">The run.</param>
/// <param name="At">Where the call stands.</param>
internal sealed record Arguments(IReadOnlyList<object?> Positional, IReadOnlyDictionary<string, object?> Named, Rendering Rendering, Position At)
{
    /// <summary>The argument at a place or with a name.</summary>
    public bool TryGet(int place, string name, out object? value)
    {
        if (place >= Positional.Count)
            return Named.TryGetValue(name, out value);
        value = Positional[place];
        return true;
    }

    /// <summary>An argument that must be there.</summary>
    public object? Get(int place, string name) =>
        TryGet(place, name, out var value) ? value : throw At.Error($"the argument '{name}' is missing.");

    /// <summary>An argument that may be absent.</summary>
    public object? Get(int place, string name, object? otherwise) => TryGet(place, name, out var value) ? value : otherwise;

    /// <summary>A text that must be there.</summary>
    public string Text(int place, string name) => Get(place, name) as string ?? throw At.Error($"the argument '{name}' must be a string.");

    /// <summary>A text that may be absent or none.</summary>
    public string? OptionalText(int place, string name) => Get(place, name, null) is null ? null : Text(place, name);

    /// <summary>A whole number that may be absent.</summary>
    public long Integer(int place, string name, long otherwise) => Get(place, name, otherwise) switch
    {
        long number => number,
        bool flag => flag ? 1 : 0,
        _ => throw At.Error($"the argument '{name}' must be a whole number."),
    };

    /// <summary>A yes or no that may be absent.</summary>
    public bool Flag(int place, string name, bool otherwise = false) => Values.IsTrue(Get(place, name, otherwise));

    /// <summary>Refuses arguments that nobody reads.</summary>
    /// <param name="what">What is called, for the error.</param>
    /// <param name="most">The most arguments without a name.</param>
    /// <param name="names">The names known.</param>
    public void Check(string what, int most, params ReadOnlySpan<string> names)
    {
        if (Positional.Count > most)
            throw At.Error($"{what} takes at most {most} arguments, not {Positional.Count}.");
        foreach (var name in Named.Keys)
            if (!names.Contains(name))
                throw At.Error($"{what} has no argument '{name}'.");
    }

    /// <summary>The same arguments without the first ones.</summary>
    public Arguments Skip(int count) => this with { Positional = [.. Positional.Skip(count)] };
}
