// Durable steps of fetching, whose every failure is a `TarnError`.

internal import Base

extension TarnError {
  /// Runs a durable step; what is no error of ours is one of the system.
  static func storing<Value: ~Copyable>(_ body: () throws -> Value) throws(TarnError) -> Value {
    do {
      return try body()
    } catch let error as TarnError {
      throw error
    } catch {
      throw TarnError(.io, "\(error)")
    }
  }
}
