namespace XDeepServe.Kernels.Cuda;

/// <summary>The GPU cannot do what was asked; the message names the operation and says what to do.</summary>
public sealed class CudaException : Exception
{
    /// <summary>Describes the failure.</summary>
    public CudaException(string message)
        : base(message)
    {
    }

    /// <summary>Describes the failure and its cause.</summary>
    public CudaException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>A failure without a description.</summary>
    public CudaException()
    {
    }
}
