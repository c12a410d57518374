using System.Runtime.Intrinsics;
using XDeepServe.Kernels.Cpu;
using Xunit;

namespace XDeepServe.Kernels.Tests;

/// <summary>Elementary functions of the CPU backend against double precision.</summary>
public sealed class VectorMathTests
{
    [Fact]
    public void The_exponential_is_right_over_its_whole_range()
    {
        for (float x = -87.2f; x < 88.2f; x += 0.0137f)
        {
            double expected = Math.Exp(x);
            double actual = VectorMath.Exponential(Vector512.Create(x))[7];
            Assert.True(Math.Abs(actual - expected) <= 2.5e-7 * expected, $"e^{x}: {actual} instead of {expected}");
        }
    }

    [Theory]
    [InlineData(0f, 1f)]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(-1e30f, 0f)]
    [InlineData(-100f, 0f)]
    [InlineData(100f, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void The_exponential_keeps_to_its_ends(float x, float expected) => Assert.Equal(expected, VectorMath.Exponential(Vector512.Create(x))[0]);
}
