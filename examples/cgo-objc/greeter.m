#include "greeter.h"

#include <string.h>

#import "foundation.h"

extern void greeted(int count);

@protocol Greets
- (NSString *)greet:(NSString *)name;
@optional
- (NSString *)farewell;
@end

@interface Greeter : NSObject <Greets> {
  NSMutableArray *_names;
}
@property(readonly) int count;
@property(retain) NSString *salutation;
+ (Greeter *)shared;
@end

@interface NSString (Shout)
- (NSString *)shouted;
@end

@implementation NSString (Shout)
- (NSString *)shouted {
  return [NSString stringWithFormat:@"%@!", [self uppercaseString]];
}
@end

@implementation Greeter
@synthesize salutation = _salutation;

+ (void)load {
  greeted(0);
}

+ (Greeter *)shared {
  static Greeter *shared;
  if (!shared) {
    shared = [[Greeter alloc] init];
  }
  return shared;
}

- (instancetype)init {
  self = [super init];
  if (self) {
    _names = [[NSMutableArray array] retain];
    self.salutation = @"Hello";
  }
  return self;
}

- (void)dealloc {
  [_names release];
  self.salutation = nil;
  [super dealloc];
}

- (int)count {
  return (int)[_names count];
}

- (NSString *)greet:(NSString *)name {
  [_names addObject:name];
  greeted(self.count);
  return [NSString stringWithFormat:@"%@, %@", self.salutation, [name shouted]];
}
@end

char *greet(const char *name) {
  NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
  id<Greets> greeter = [Greeter shared];
  NSString *text = [greeter greet:[NSString stringWithUTF8String:name]];
  if ([(NSObject *)greeter respondsToSelector:@selector(farewell)]) {
    NSLog(@"%@ says goodbye", [greeter farewell]);
  }
  char *copy = strdup([text UTF8String]);
  [pool drain];
  return copy;
}

int host_name_length(void) {
  NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
  @try {
    return (int)[[[NSProcessInfo processInfo] hostName] length];
  } @finally {
    [pool drain];
  }
}
