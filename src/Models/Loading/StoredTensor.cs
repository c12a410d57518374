using XDeepServe.Kernels;

namespace XDeepServe.Models.Loading;

/// <summary>A tensor as it lies in a file.</summary>
/// <param name="Name">Hugging Face name.</param>
/// <param name="Type">Storage type.</param>
/// <param name="Shape">Outermost dimension first.</param>
/// <param name="Address">First byte.</param>
/// <param name="Bytes">Length.</param>
/// <param name="File">The mapped file that holds it, if one does: a backend that copied the rows gives their pages back.</param>
public sealed record StoredTensor(string Name, ElementType Type, long[] Shape, nint Address, long Bytes, MappedFile? File = null);
