import Base
import Parquet
import Testing
