using System.CommandLine;
using System.ComponentModel;
using System.Reflection;
using System.Runtime.InteropServices;
using XDeepServe.Alignment.Data;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Training.Running;
using XDeepServe.Training.Settings;

namespace XDeepServe.Training;

/// <summary>The trainer's command line: a command for each stage, a flag for each setting.</summary>
internal static class Program
{
    private static readonly Option<bool> UntilEof = new("--until-eof") { Description = "Stop with a checkpoint when the input ends, as launchers want it.", Recursive = true, Hidden = true };

    internal static async Task<int> Main(string[] arguments)
    {
        RootCommand root = new("Trains language models and reward models. Every stage takes the same settings, from a YAML file, from flags, or both.");
        foreach (string stage in Run.Stages)
            root.Add(StageCommand(stage));
        root.Add(UntilEof);
        root.Add(RovrmCommand());
        root.Add(new SelectCommand());
        try
        {
            return await root.Parse(arguments).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null /* see Interruption */ }).ConfigureAwait(false);
        }
        catch (ExternalException failure) // libtorch's: the first line says what, the rest is its own stack
        {
            string what = failure.Message.Split('\n')[0];
            string advice = what.Contains("out of memory", StringComparison.Ordinal) ? " Lower per_device_train_batch_size (and raise gradient_accumulation_steps), or set gradient_checkpointing." : "";
            await Console.Error.WriteLineAsync($"xds-train: {what}{advice}").ConfigureAwait(false);
            return 1;
        }
        catch (Exception failure) when (failure is TrainingException or DataException or ModelLoadException or TokenizerException or TemplateException or ImageException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"xds-train: {failure.Message}").ConfigureAwait(false);
            return 1;
        }
    }

    private static Command StageCommand(string stage)
    {
        Command command = new(stage, stage switch
        {
            "pretrain" => "Learns the next token of plain text, packed.",
            "sft" => "Learns the assistant's turns of conversations.",
            "bt" => "Learns a scalar reward from pairs (Bradley-Terry) or rankings (Plackett-Luce).",
            "gram-pretrain" => "GRAM's first stage: generates both answers of unlabelled pairs.",
            "gram" => "GRAM's second stage: says which of two answers is better, with selective label smoothing.",
            "lrhp" => "Learns to represent preferences: tells which of two answers is preferred from a token behind them.",
            "dpo" => "Learns a policy from pairs (direct preference optimisation).",
            _ => "",
        });
        Option<FileInfo?> recipe = new("--config") { Description = "YAML file of settings; flags override it." };
        command.Add(recipe);
        Dictionary<string, Option<string[]>> flags = [];
        foreach ((string name, PropertyInfo property) in Recipe.Fields)
        {
            Option<string[]> flag = new($"--{name}", $"--{name.Replace('_', '-')}")
            {
                Description = $"{property.GetCustomAttribute<DescriptionAttribute>()!.Description} [{Text(property.GetValue(new TrainingSettings()))}]",
                AllowMultipleArgumentsPerToken = property.PropertyType == typeof(IReadOnlyList<string>),
                HelpName = property.PropertyType == typeof(bool) ? "true|false" : "value",
            };
            flags[name] = flag;
            command.Add(flag);
        }
        command.SetAction((parsed, _) => Task.Run(() =>
        {
            TrainingSettings settings = new();
            if (parsed.GetValue(recipe) is { } file)
                settings = Recipe.Apply(settings, Recipe.Read(file.FullName));
            settings = Recipe.Apply(settings, flags.Where(flag => parsed.GetResult(flag.Value) is { Implicit: false })
                .Select(flag => (flag.Key, (IReadOnlyList<string>)parsed.GetValue(flag.Value)!)));
            settings.Check();
            Torch.Load(settings.Libtorch);
            using ConsoleWatcher watcher = new(Console.Error, Console.IsErrorRedirected);
            using Interruption interruption = new(parsed.GetValue(UntilEof));
            return new Run(settings, watcher.Say).Train(stage, watcher, interruption.Stop) ? 0 : 130;
        }, CancellationToken.None));
        return command;
    }

    private static Command RovrmCommand()
    {
        Option<FileInfo> recipe = new("--config") { Description = "YAML file: settings for all phases, and maps textual, caption, visual and selection with their own.", Required = true };
        Command command = new("rovrm", "RoVRM: selects preference data by optimal transport and learns from text, captions and images in turn. Goes on where it was stopped.") { recipe };
        command.SetAction((parsed, _) => Task.Run(() =>
        {
            RovrmSettings settings = RovrmSettings.Read(parsed.GetValue(recipe)!.FullName);
            Torch.Load(settings.WarmUp.Libtorch);
            using ConsoleWatcher watcher = new(Console.Error, Console.IsErrorRedirected);
            using Interruption interruption = new(parsed.GetValue(UntilEof));
            return new RovrmRun(settings, watcher.Say).Train(watcher, interruption.Stop) ? 0 : 130;
        }, CancellationToken.None));
        return command;
    }

    private static string Text(object? value) => value switch
    {
        IReadOnlyList<string> list => string.Join(' ', list),
        Enum or bool => value.ToString()!.ToLowerInvariant(),
        _ => Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture)!,
    };
}
