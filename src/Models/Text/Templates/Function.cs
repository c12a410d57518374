namespace XDeepServe.Models.Text.Templates;

/// <summary>What a template can call: a global function, a method, a macro.</summary>
/// <param name="rendering">The run.</param>
/// <param name="arguments">The arguments.</param>
internal delegate object? Function(Rendering rendering, Arguments arguments);

/// <summary>A filter: a function of the value before the bar.</summary>
/// <param name="rendering">The run.</param>
/// <param name="value">The value.</param>
/// <param name="arguments">The arguments in brackets.</param>
internal delegate object? Filter(Rendering rendering, object? value, Arguments arguments);

/// <summary>A test: whether a value is something.</summary>
/// <param name="value">The value.</param>
/// <param name="arguments">The arguments.</param>
internal delegate bool Test(object? value, Arguments arguments);
