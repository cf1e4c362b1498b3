// The pickle in a file of `torch.save`: a program for a stack machine that may
// call anything in Python. Here it may name four things, and calls nothing:
// what would rebuild one tensor is read as a description of it.
// Opcodes: https://github.com/python/cpython/blob/3.13/Lib/pickletools.py

/// A tensor as its pickle describes it.

internal import Base
struct TensorPickle: Equatable {
  /// The type of the elements in the storage.
  let elementType: ElementType
  /// Name of the entry with the elements, digits.
  let storageKey: String
  /// Elements in the storage.
  let storageCount: Int
  /// The first element, shape and strides, in elements.
  let offset: Int
  let shape: [Int]
  let strides: [Int]

  /// More steps than any tensor takes; also bounds nesting.
  private static let maximumStepCount = 1000

  /// Runs the pickle of one tensor.
  ///
  /// - Parameter bytes: All of `data.pkl`.
  /// - Throws: ``FeatureFault`` for whatever does more than describe a tensor.
  init(_ bytes: [UInt8]) throws(FeatureFault) {
    var machine = Machine(bytes: bytes)
    for _ in 0..<Self.maximumStepCount {
      guard let value = try machine.step() else { continue }
      guard case .tensor(let tensor) = value else {
        throw FeatureFault("its pickle holds \(value.kind), not one tensor")
      }
      self = tensor
      return
    }
    throw FeatureFault("its pickle goes on and on; one tensor is described in a few steps")
  }

  fileprivate init(_ arguments: [Value]) throws(FeatureFault) {
    guard arguments.count >= 6, case .storage(let type, let key, let count) = arguments[0],
      case .integer(let offset) = arguments[1], case .tuple(let shape) = arguments[2],
      case .tuple(let strides) = arguments[3]
    else { throw FeatureFault("its pickle describes no tensor that tarn knows") }
    func integers(_ values: [Value]) throws(FeatureFault) -> [Int] {
      var result: [Int] = []
      for value in values {
        guard case .integer(let number) = value else { throw FeatureFault("its tensor's shape is not of numbers") }
        result.append(number)
      }
      return result
    }
    (elementType, storageKey, storageCount) = (type, key, count)
    (self.offset, self.shape, self.strides) = (offset, try integers(shape), try integers(strides))
  }
}

/// What can be on the stack.
private enum Value {
  case mark, none, boolean
  case integer(Int)
  case text(String)
  case tuple([Value])
  case global(String)
  case storage(type: ElementType, key: String, count: Int)
  case tensor(TensorPickle)
  case emptyDictionary

  var kind: String {
    switch self {
    case .mark, .none, .boolean: "a constant"
    case .integer: "a number"
    case .text: "a text"
    case .tuple: "a tuple"
    case .global(let name): "the name \(name)"
    case .storage: "a storage"
    case .tensor: "a tensor"
    case .emptyDictionary: "a dictionary"
    }
  }
}

/// The stack machine, as far as it goes.
private struct Machine {
  let bytes: [UInt8]
  var position = 0
  var stack: [Value] = []
  var memo: [Int: Value] = [:]

  private static let rebuild = "torch._utils._rebuild_tensor_v2"
  private static let storages: [String: ElementType] = [
    "torch.HalfStorage": .float16, "torch.FloatStorage": .float32, "torch.DoubleStorage": .float64,
    "torch.BFloat16Storage": .bfloat16, "torch.ByteStorage": .uint8, "torch.CharStorage": .int8,
  ]
  private static let dictionary = "collections.OrderedDict"

  /// Carries out one opcode; gives the result when that is the last.
  mutating func step() throws(FeatureFault) -> Value? {
    let opcode = try byte()
    switch opcode {
    case 0x80:  // PROTO
      guard (2...5).contains(try byte()) else { throw FeatureFault("its pickle is of an unknown protocol") }
    case 0x95: _ = try take(8)  // FRAME
    case 0x28: stack.append(.mark)  // MARK
    case 0x29: stack.append(.tuple([]))  // EMPTY_TUPLE
    case 0x74: stack.append(.tuple(try popMark()))  // TUPLE
    case 0x85, 0x86, 0x87:  // TUPLE1, 2, 3
      let count = Int(opcode) - 0x84
      guard stack.count >= count else { throw damaged }
      let values = Array(stack.suffix(count))
      stack.removeLast(count)
      stack.append(.tuple(values))
    case 0x7D: stack.append(.emptyDictionary)  // EMPTY_DICT
    case 0x4E: stack.append(.none)  // NONE
    case 0x88, 0x89: stack.append(.boolean)  // NEWTRUE, NEWFALSE
    case 0x4B: stack.append(.integer(Int(try byte())))  // BININT1
    case 0x4D: stack.append(.integer(try take(2).littleEndian(at: 0, 2)))  // BININT2
    case 0x4A:  // BININT
      stack.append(.integer(Int(Int32(truncatingIfNeeded: try take(4).littleEndian(at: 0, 4)))))
    case 0x8A: stack.append(.integer(try long()))  // LONG1
    case 0x58: stack.append(.text(try text(try take(4).littleEndian(at: 0, 4))))  // BINUNICODE
    case 0x8C: stack.append(.text(try text(Int(try byte()))))  // SHORT_BINUNICODE
    case 0x71: try remember(Int(try byte()))  // BINPUT
    case 0x72: try remember(try take(4).littleEndian(at: 0, 4))  // LONG_BINPUT
    case 0x94: try remember(memo.count)  // MEMOIZE
    case 0x68: try recall(Int(try byte()))  // BINGET
    case 0x6A: try recall(try take(4).littleEndian(at: 0, 4))  // LONG_BINGET
    case 0x63: try push(global: try line() + "." + line())  // GLOBAL
    case 0x93:  // STACK_GLOBAL
      guard case .text(let name)? = stack.popLast(), case .text(let module)? = stack.popLast() else { throw damaged }
      try push(global: module + "." + name)
    case 0x51: try loadStorage()  // BINPERSID
    case 0x52: try reduce()  // REDUCE
    case 0x2E:  // STOP
      guard stack.count == 1, position == bytes.count else { throw damaged }
      return stack[0]
    case 0x5D, 0x61, 0x65, 0x73, 0x75:  // EMPTY_LIST, APPEND, APPENDS, SETITEM, SETITEMS
      throw FeatureFault("its pickle holds more than one plain tensor; save the features alone, as one tensor")
    default:
      throw FeatureFault(
        "its pickle has opcode \(opcode) at byte \(position - 1); tarn reads a file with one tensor and executes nothing"
      )
    }
    return nil
  }

  private var damaged: FeatureFault { FeatureFault("its pickle is damaged at byte \(position)") }

  private mutating func byte() throws(FeatureFault) -> UInt8 {
    guard position < bytes.count else { throw FeatureFault("its pickle ends early") }
    position += 1
    return bytes[position - 1]
  }

  private mutating func take(_ count: Int) throws(FeatureFault) -> ArraySlice<UInt8> {
    guard count <= bytes.count - position else { throw FeatureFault("its pickle ends early") }
    position += count
    return bytes[position - count..<position]
  }

  private mutating func text(_ count: Int) throws(FeatureFault) -> String {
    String(decoding: try take(count), as: UTF8.self)
  }

  private mutating func line() throws(FeatureFault) -> String {
    guard let end = bytes[position...].prefix(256).firstIndex(of: 0x0A) else { throw damaged }
    defer { position = end + 1 }
    return String(decoding: bytes[position..<end], as: UTF8.self)
  }

  /// A signed number of up to 8 bytes.
  private mutating func long() throws(FeatureFault) -> Int {
    let count = Int(try byte())
    guard count <= 8 else { throw FeatureFault("its pickle has a number of \(count) bytes") }
    let digits = try take(count)
    guard let top = digits.last else { return 0 }
    var value = top >= 0x80 ? -1 : 0
    for digit in digits.reversed() { value = value << 8 | Int(digit) }
    return value
  }

  private mutating func remember(_ slot: Int) throws(FeatureFault) {
    guard let value = stack.last else { throw damaged }
    memo[slot] = value
  }

  private mutating func recall(_ slot: Int) throws(FeatureFault) {
    guard let value = memo[slot] else { throw damaged }
    stack.append(value)
  }

  private mutating func popMark() throws(FeatureFault) -> [Value] {
    guard let mark = stack.lastIndex(where: { if case .mark = $0 { true } else { false } }) else { throw damaged }
    let values = Array(stack[(mark + 1)...])
    stack.removeSubrange(mark...)
    return values
  }

  private mutating func push(global name: String) throws(FeatureFault) {
    if name.hasPrefix("torch."), name.hasSuffix("Storage"), Self.storages[name] == nil {
      throw FeatureFault("its elements are a \(name.prefix(40).printableASCII); tarn reads floats and bytes")
    }
    guard name == Self.rebuild || name == Self.dictionary || Self.storages[name] != nil else {
      throw FeatureFault("its pickle would call \(name.prefix(60).printableASCII); tarn executes nothing")
    }
    stack.append(.global(name))
  }

  /// `('storage', type, key, device, count)`.
  private mutating func loadStorage() throws(FeatureFault) {
    guard case .tuple(let parts)? = stack.popLast(), parts.count == 5, case .text("storage") = parts[0],
      case .global(let name) = parts[1], let type = Self.storages[name], case .text(let key) = parts[2],
      case .text = parts[3], case .integer(let count) = parts[4]
    else { throw FeatureFault("its pickle refers to no storage of torch.save") }
    guard !key.isEmpty, key.utf8.count <= 20, key.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
      throw FeatureFault("its storage is named '\(key.prefix(60).printableASCII)'; torch.save counts them")
    }
    stack.append(.storage(type: type, key: key, count: count))
  }

  private mutating func reduce() throws(FeatureFault) {
    guard case .tuple(let arguments)? = stack.popLast(), case .global(let name)? = stack.popLast() else {
      throw damaged
    }
    switch name {
    case Self.dictionary where arguments.isEmpty: stack.append(.emptyDictionary)
    case Self.rebuild: stack.append(.tensor(try TensorPickle(arguments)))
    default: throw FeatureFault("its pickle would call \(name); tarn executes nothing")
    }
  }
}
