using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>What a conversion did.</summary>
/// <param name="Tensors">Tensors written.</param>
/// <param name="Bytes">Bytes written: the file, or all files of the folder.</param>
/// <param name="SourceBytes">Bytes of the tensors it was made from.</param>
/// <param name="Notes">What the user should know: matrices that could not take the asked type, missing files.</param>
/// <param name="LargestError">Largest difference of any value from the source, as a share of the largest magnitude in its row.</param>
/// <param name="RelativeError">Root of (sum of squared differences / sum of squared values) over the matrices that were converted.</param>
public sealed record ConversionReport(
    int Tensors, long Bytes, long SourceBytes, IReadOnlyList<string> Notes, double LargestError, double RelativeError);

/// <summary>What to convert a model to.</summary>
/// <param name="Type">Type of the matrices.</param>
/// <param name="Name">The model's name, for the file's metadata.</param>
/// <param name="Smoothing">Factors that move the range of activations into the weights, found by calibration; null for none.</param>
/// <param name="Progress">Receives fractions from 0 to 1.</param>
public sealed record ConversionOptions(
    ElementType Type, string Name, Smoothing? Smoothing = null, IProgress<double>? Progress = null);
