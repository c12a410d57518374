using XDeepServe.Alignment.Data;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary>Failures that a user can do something about: they are told in one line, without a stack trace.</summary>
internal static class Complaint
{
    /// <summary>The line; null for a failure that is a defect of the program.</summary>
    public static string? Of(Exception failure) => failure switch
    {
        InvalidRequestException refused => refused.Message,
        DataException or ModelLoadException or TokenizerException or TemplateException or ImageException or CudaException => failure.Message,
        HttpRequestException => $"The server does not answer: {failure.Message}",
        ArgumentException { ParamName: { } name } wrong => wrong.Message.Split($" (Parameter '{name}')")[0].ReplaceLineEndings(" "),
        IOException or UnauthorizedAccessException or ArgumentException => failure.Message.ReplaceLineEndings(" "),
        NotFiniteNumberException => failure.Message,
        OperationCanceledException => "Stopped.",
        OutOfMemoryException => "There is not enough memory: serve with a smaller --max-model-len, --max-num-seqs or --kv-cache-memory-bytes.",
        _ => null,
    };
}
