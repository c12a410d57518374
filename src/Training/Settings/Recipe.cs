using System.Globalization;
using System.Reflection;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Serialization;

namespace XDeepServe.Training.Settings;

/// <summary>Makes <see cref="TrainingSettings"/> from names and texts: of a YAML file, of flags, the later over the earlier.</summary>
public static class Recipe
{
    /// <summary>Every setting with its name in a file.</summary>
    public static IReadOnlyDictionary<string, PropertyInfo> Fields { get; } =
        typeof(TrainingSettings).GetProperties().Where(property => property.CanWrite).ToDictionary(property => Snake(property.Name), StringComparer.Ordinal);

    /// <summary>Reads a YAML file of names and values.</summary>
    /// <exception cref="TrainingException">It is no such file.</exception>
    public static IReadOnlyList<(string Name, IReadOnlyList<string> Values)> Read(string path) => Entries(path, ReadMap(path));

    /// <summary>Values of a map, as <see cref="Apply"/> takes them.</summary>
    /// <param name="path">Its file, for messages.</param>
    /// <param name="map">Names and values.</param>
    internal static IReadOnlyList<(string Name, IReadOnlyList<string> Values)> Entries(string path, IEnumerable<KeyValuePair<string, object?>> map) =>
        [.. map.Select(item => (item.Key, item.Value switch
        {
            null => (IReadOnlyList<string>)[],
            string text => [text],
            IEnumerable<object?> list when list.All(entry => entry is string) => [.. list.Select(entry => (string)entry!)],
            _ => throw new TrainingException($"{path}: '{item.Key}' must be a value or a list of values."),
        }))];

    /// <summary>Reads a YAML file whose values may be maps themselves.</summary>
    /// <exception cref="TrainingException">It is no such file.</exception>
    internal static Dictionary<string, object?> ReadMap(string path)
    {
        try
        {
            return new DeserializerBuilder().Build().Deserialize<Dictionary<string, object?>>(File.ReadAllText(path)) ?? [];
        }
        catch (YamlException broken)
        {
            throw new TrainingException($"{path}, line {broken.Start.Line}: no YAML of names and values ({broken.InnerException?.Message ?? broken.Message}).");
        }
        catch (Exception missing) when (missing is IOException or UnauthorizedAccessException)
        {
            throw new TrainingException($"The settings cannot be read: {missing.Message}");
        }
    }

    /// <summary>Settings with some of them given.</summary>
    /// <param name="settings">Those before.</param>
    /// <param name="given">Names and values.</param>
    /// <exception cref="TrainingException">An unknown name or a value that is none.</exception>
    public static TrainingSettings Apply(TrainingSettings settings, IEnumerable<(string Name, IReadOnlyList<string> Values)> given)
    {
        settings = settings with { }; // init-only properties are set on a copy of its own
        foreach ((string name, IReadOnlyList<string> values) in given)
        {
            if (!Fields.TryGetValue(name, out PropertyInfo? property))
                throw Unknown(name);
            property.SetValue(settings, Convert(name, values, property.PropertyType));
        }
        return settings;
    }

    private static object Convert(string name, IReadOnlyList<string> values, Type type)
    {
        if (type == typeof(IReadOnlyList<string>))
            return values.FirstOrDefault(value => value.StartsWith("--", StringComparison.Ordinal)) is { } flag ? throw Unknown(flag[2..].Replace('-', '_')) : values;
        if (values is not [string text])
            throw new TrainingException($"'{name}' takes one value.");
        if (type == typeof(string))
            return text;
        if (type == typeof(bool))
            return bool.TryParse(text, out bool flag) ? flag : throw Wrong("true or false");
        if (type == typeof(int))
            return int.TryParse(text, CultureInfo.InvariantCulture, out int number) ? number : throw Wrong("a whole number");
        if (type == typeof(double))
            return double.TryParse(text, CultureInfo.InvariantCulture, out double real) && double.IsFinite(real) ? real : throw Wrong("a number");
        string[] choices = [.. Enum.GetNames(type).Select(Snake)];
        int choice = Array.IndexOf(choices, text == "pytorch" ? "py_torch" : text);
        return choice >= 0 ? Enum.GetValues(type).GetValue(choice)! : throw Wrong(string.Join(" or ", choices).Replace("py_torch", "pytorch", StringComparison.Ordinal));

        TrainingException Wrong(string expected) => new($"'{name}' must be {expected}, not '{text}'.");
    }

    private static TrainingException Unknown(string name) => new($"There is no setting '{name}'{Nearest(name)}.");

    private static string Nearest(string name)
    {
        string[] like = [.. Fields.Keys.Where(field => field.Contains(name, StringComparison.Ordinal) || name.Contains(field, StringComparison.Ordinal) || field.Split('_').Intersect(name.Split('_')).Count() > 1)];
        return like.Length > 0 ? $"; do you mean {string.Join(" or ", like)}" : $"; there are {string.Join(", ", Fields.Keys)}";
    }

    private static string Snake(string name)
    {
        StringBuilder text = new();
        foreach (char letter in name)
            text.Append(char.IsUpper(letter) && text.Length > 0 ? "_" : "").Append(char.ToLowerInvariant(letter));
        return text.ToString();
    }
}
