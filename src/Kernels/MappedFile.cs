using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace XDeepServe.Kernels;

/// <summary>A file mapped read-only. Whoever opened it owns it; addresses into it die with it.</summary>
public sealed unsafe partial class MappedFile : IDisposable
{
    private const int DontNeed = 4; // MADV_DONTNEED
    private readonly MemoryMappedFile? file;
    private readonly MemoryMappedViewAccessor? view;
    private bool disposed;

    private MappedFile(string path, MemoryMappedFile? file, MemoryMappedViewAccessor? view, long length)
    {
        Path = path;
        this.file = file;
        this.view = view;
        Length = length;
        if (view is null)
            return;
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        Address = (nint)(start + view.PointerOffset);
    }

    /// <summary>The file's path, for messages.</summary>
    public string Path { get; }

    /// <summary>First byte; 0 if the file is empty.</summary>
    public nint Address { get; }

    /// <summary>Length in bytes.</summary>
    public long Length { get; }

    /// <summary>Maps a whole file.</summary>
    /// <exception cref="IOException">The file cannot be opened or mapped.</exception>
    public static MappedFile Open(string path)
    {
        FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
        long length = stream.Length;
        if (length == 0)
        {
            stream.Dispose();
            return new MappedFile(path, null, null, 0);
        }
        MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        try
        {
            return new MappedFile(path, file, file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read), length);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Some bytes of the file.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are not within the file.</exception>
    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - length);
        return new ReadOnlySpan<byte>((byte*)Address + offset, length);
    }

    /// <summary>
    /// Takes the pages that lie wholly within the range out of this process's memory; a later read fetches them from the file
    /// again. For weights that were copied elsewhere. Does nothing where the system has no such call.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The range is not within the file.</exception>
    public void DropPages(nint address, long bytes)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        ArgumentOutOfRangeException.ThrowIfLessThan(address, Address);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(address + bytes, Address + Length);
        if (!OperatingSystem.IsLinux())
            return;
        long page = Environment.SystemPageSize;
        long first = (address + page - 1) / page * page;
        long end = (address + bytes) / page * page;
        // The mapping is read-only and backed by the file, so nothing can be lost; a refusal costs only memory.
        if (end > first)
            _ = Advise((nint)first, (nuint)(end - first), DontNeed);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        if (Address != 0)
            view?.SafeMemoryMappedViewHandle.ReleasePointer();
        view?.Dispose();
        file?.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint bytes, int advice);
}
