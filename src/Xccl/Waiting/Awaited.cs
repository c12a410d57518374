namespace XDeepServe.Xccl.Waiting;

/// <summary>What is being waited for, for messages.</summary>
internal enum Awaited
{
    Region,
    Link,
    Room,
    Acknowledgement,
    Message,
    Block,
    Release,
    Record,
}
