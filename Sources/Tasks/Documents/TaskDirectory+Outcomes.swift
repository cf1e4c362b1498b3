// What workers leave: results, receipts, and word of what ended them.

package import Base

extension TaskDirectory {
  // MARK: Receipts

  /// The receipts there are, by task, each by its file's name; no content is read.
  ///
  /// - Parameter number: The one task that is asked for; nil for all.
  /// - Returns: Names in order; files that cannot be a receipt's are left out.
  /// - Throws: ``TarnError`` when they cannot be listed.
  package func receiptNames(of number: Int? = nil) throws -> [Int: [String]] {
    try names(in: "receipts", of: number).mapValues { $0.filter { $0.hasSuffix(".json") } }.filter { !$0.value.isEmpty }
  }

  /// Results and what grows into such, by task, each by its file's name.
  ///
  /// - Returns: Names in order.
  /// - Throws: ``TarnError`` when they cannot be listed.
  package func resultNames() throws -> [Int: [String]] { try names(in: "results") }

  private func names(in folder: String, of number: Int? = nil) throws -> [Int: [String]] {
    var found: [Int: [String]] = [:]
    for name in try outcomes.names(in: folder, from: number.map { "\(Self.stem($0))." } ?? "") {
      guard let number = name.split(separator: ".").first.flatMap({ Int($0) }), number >= 0 else { continue }
      found[number, default: []].append(name)
    }
    return found.mapValues { $0.sorted() }
  }

  /// Reads a receipt whose name says its digest.
  ///
  /// - Parameter name: Its file's name.
  /// - Returns: The receipt.
  /// - Throws: ``TarnError`` `.integrity` for one that is cut, changed or malformed, `.schemaNewer`; another
  ///   where it cannot be read, which says nothing of it.
  package func receipt(_ name: String) throws -> TaskReceipt {
    let path = "\(receipts)/\(name)"
    guard let bytes = try outcomes.contents("receipts/\(name)", atMost: Self.documentByteLimit) else {
      throw TarnError(.inputsMissing, "\(path) is gone", hint: "run the same command again")
    }
    guard name.split(separator: ".").dropFirst().first.flatMap({ ContentDigest(hex: String($0)) }) == .of(bytes) else {
      throw TarnError(.integrity, "\(path) is cut or changed: its SHA-256 is not in its name")
    }
    return try TaskReceipt(reading: bytes, in: path)
  }

  /// The receipts of a task that may be right, as far as documents alone tell.
  ///
  /// - Parameters:
  ///   - task: The task.
  ///   - names: Its receipts' names.
  /// - Returns: Those that fit the task.
  /// - Throws: ``TarnError`` where one cannot be read.
  package func likelyReceipts(of task: AnyTask, _ names: [String]) throws -> [TaskReceipt] {
    try names.compactMap { name in
      do {
        let receipt = try receipt(name)
        return receipt.objection(to: task) == nil ? receipt : nil
      } catch let error as TarnError where [.integrity, .schemaNewer, .inputsMissing].contains(error.code) {
        return nil
      }
    }
  }

  /// Writes a receipt, durably; its result is.
  ///
  /// - Returns: Where it is.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  @discardableResult
  package func write(_ receipt: TaskReceipt, of number: Int, by worker: String) throws -> String {
    let bytes = Array(receipt.text.utf8)
    let digest = ContentDigest.of(bytes)
    try outcomes.keep(bytes, as: Self.receiptName(number, digest), by: worker)
    return receiptPath(number, digest)
  }

  /// Puts a receipt out of the way.
  ///
  /// - Parameter file: Its file's name.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  package func refuse(_ file: String) throws { try outcomes.move("receipts/\(file)", to: "refused/\(file)") }

  /// The tasks that have no receipt that fits, as far as documents alone tell.
  ///
  /// - Parameters:
  ///   - plan: The plan.
  ///   - wanted: Which tasks to look at; nil for all.
  ///   - memory: What was read at earlier looks, for who looks often.
  /// - Returns: Their numbers, with what their last workers said.
  /// - Throws: ``TarnError`` where a task cannot be read.
  package func openTasks(
    of plan: TaskPlan, among wanted: Set<Int>? = nil, remembering memory: TaskMemory = TaskMemory()
  ) throws -> [(task: Int, failure: TaskFailure?)] {
    let names = try receiptNames()
    let failed = try failedTasks()
    return try plan.tasks.indices.filter { wanted?.contains($0) ?? true }.compactMap { number in
      let names = names[number] ?? []
      guard !names.contains(where: memory.fitting.contains) else { return nil }
      // A task without a receipt has nothing to be held against.
      if let name = try names.first(where: { try fits($0, number, of: plan, memory) }) {
        memory.fitting.insert(name)
        return nil
      }
      return (number, failed.contains(number) ? failure(of: number) : nil)
    }
  }

  private func fits(_ name: String, _ number: Int, of plan: TaskPlan, _ memory: TaskMemory) throws -> Bool {
    let digest = plan.tasks[number]
    let task = try memory.tasks[digest] ?? task(number, of: plan)
    memory.tasks[digest] = task
    return try !likelyReceipts(of: task, [name]).isEmpty
  }

  // MARK: Failures

  /// The tasks whose last workers left word why they gave up.
  package func failedTasks() throws -> Set<Int> { Set(try names(in: "failures").keys) }

  /// Why a task's last worker gave up, where it said so.
  package func failure(of number: Int) -> TaskFailure? {
    let name = Self.failureName(number)
    guard let bytes = try? outcomes.contents(name, atMost: 1 << 20) else { return nil }
    return try? TaskFailure(reading: bytes, in: failurePath(number))
  }

  /// Leaves word why a task's worker gave up.
  func write(_ failure: TaskFailure, of number: Int, by worker: String) throws {
    try outcomes.write(Array(failure.text.utf8), as: Self.failureName(number), by: worker)
  }

  /// Removes what was left word of, if anything was.
  package func forgetFailure(of number: Int) throws {
    let name = Self.failureName(number)
    if try outcomes.byteCount(of: name) != nil { try outcomes.remove(name) }
  }

  // MARK: Results

  /// Where a result grows before its digest is known; the names of two workers differ.
  ///
  /// - Parameters:
  ///   - task: The task's number.
  ///   - worker: Names this process.
  ///   - scratch: A directory of this worker's.
  /// - Returns: The path.
  /// - Throws: ``TarnError`` when the disk refuses.
  func workingPath(_ task: Int, by worker: String, in scratch: String) throws -> String {
    try outcomes.workingPath("results/\(Self.stem(task)).\(worker).part", in: scratch)
  }

  /// Puts a result under its name.
  ///
  /// - Parameters:
  ///   - path: The file, durable, at its working path; it goes.
  ///   - number: The task's number.
  ///   - digest: The file's.
  ///   - kind: What it is.
  ///   - scratch: A directory of this worker's, which the next worker of the task finds.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  func put(
    result path: String, of number: Int, _ digest: ContentDigest, _ kind: TaskPlan.Kind, by scratch: String
  ) throws { try outcomes.put(path, as: Self.resultName(number, digest, of: kind), digest, by: scratch) }

  /// Bytes of a result; nil where it is not there.
  package func byteCount(ofResult digest: ContentDigest, _ number: Int, _ kind: TaskPlan.Kind) throws -> Int? {
    try outcomes.byteCount(of: Self.resultName(number, digest, of: kind))
  }

  /// Where a result is one of this user's files on this machine; nil where it is not.
  package func ownPath(ofResult digest: ContentDigest, _ number: Int, _ kind: TaskPlan.Kind) -> String? {
    outcomes.ownPath(of: Self.resultName(number, digest, of: kind))
  }

  /// Gives a result another name on this machine, for whoever reads it; its own stays.
  ///
  /// - Parameters:
  ///   - result: What its receipt says of it.
  ///   - number: The task's number.
  ///   - kind: What it is.
  ///   - path: The name; what an earlier run fetched there is gone on with.
  /// - Throws: ``TarnError`` `.integrity` where it came as other bytes.
  package func take(
    _ result: TaskReceipt.Result, of number: Int, _ kind: TaskPlan.Kind, to path: String
  ) throws {
    try outcomes.take(Self.resultName(number, result.digest, of: kind), result.byteCount, result.digest, to: path)
  }

  /// Makes sure that a worker may leave what it makes, before it makes anything.
  ///
  /// - Throws: ``TarnError`` `.io`, or what the store refuses with.
  func requireWritable() throws {
    for folder in ["results", "receipts"] { try outcomes.requireWritable(folder) }
  }

  /// Removes what workers left of a task that is done with: its result, and what grew to be one.
  ///
  /// - Parameters:
  ///   - number: The task's number.
  ///   - digests: Of the files that were taken in.
  ///   - files: The names of its results.
  /// - Throws: ``TarnError`` when the disk or the store refuses.
  package func removeResults(of number: Int, _ digests: [ContentDigest], _ files: [String]) throws {
    let results = digests.map { Self.name(number, $0, "faiss") }
    // What grows has names that go on behind its working path's.
    for file in files where results.contains(file) || file.split(separator: ".").contains("part") {
      try outcomes.remove("results/\(file)")
    }
  }
}
