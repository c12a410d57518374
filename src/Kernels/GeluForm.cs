namespace XDeepServe.Kernels;

/// <summary>Which function a network was trained with under the name of GELU.</summary>
public enum GeluForm
{
    /// <summary>x · Φ(x) by the error function.</summary>
    Exact,
    /// <summary>x · ½ · (1 + tanh(√(2/π) · (x + 0.044715·x³))).</summary>
    Tanh,
    /// <summary>x · sigmoid(1.702·x).</summary>
    Quick,
}
